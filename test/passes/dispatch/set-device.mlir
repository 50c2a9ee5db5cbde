// RUN: %dlas_opt %s --split-input-file --dlas-set-device --mlir-print-local-scope | FileCheck %s
// RUN: not %dlas_opt %s --split-input-file --dlas-set-device=arch=sm_90 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `dlas-set-device` has no option `arch`

// CHECK: hal.device.targets = [#hal.device.target<"cuda", [#hal.executable.target<"cuda", "cuda-nvptx-fb", {iree_codegen.target_info = #iree_gpu.target<arch = "sm_90a", features = "+ptx80",
// CHECK-SAME: max_workgroup_memory_bytes = 232448
// CHECK-SAME: wgp_count = 132
module attributes {dlas.target = {name = "hopper", kind = "gpu", architecture = "sm_90a", ptx = "+ptx80", compute_units = 132 : i64, shared_bytes = 232448 : i64}} {
func.func @main() {
  return
}
}

// -----

// Of any Vulkan device, which may have types that iree-compile's flags leave out.
// CHECK: hal.device.targets = [#hal.device.target<"vulkan", [#hal.executable.target<"vulkan-spirv", "vulkan-spirv-fb", {iree_codegen.target_info = #iree_gpu.target<arch = "spirv:v1.3", features = "spirv:v1.3,cap:Shader",
// CHECK-SAME: compute = {{.*}}int8, storage = b64|b32|b16|b8, subgroup = none
// CHECK-SAME: max_thread_count_per_workgroup = 128, max_workgroup_memory_bytes = 16384
module attributes {dlas.target = {name = "any", kind = "gpu", architecture = "spirv:v1.3"}} {
func.func @portable() {
  return
}
}

// -----

// CHECK-NOT: hal.device.targets
module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {
func.func @without() {
  return
}
}
