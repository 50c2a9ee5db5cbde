// The file has a schedule for this workload.
// RUN: echo '{"schedule":{"kind":"cpu","lanes":4,"order":["d1","d0"],"tile":{"d0":3,"d1":4},"vector":"d1"},"workload":"bab34f053090e8174e43ac78158df4f87ac0b22eb3011741c585541da7edfacc"}' > %t.jsonl
// RUN: %dlas_opt %s --dlas-attach-schedules='schedule=tuned records=%t.jsonl' | FileCheck %s --check-prefix=TUNED
// TUNED: dlas.schedule = {distribute = {}, kind = "cpu", lanes = 4 : i64, order = ["d1", "d0"], tile = {d0 = 3 : i64, d1 = 4 : i64}, vector = "d1"}

// It has none for this one: the rule's is taken.
// RUN: echo '{"schedule":{"kind":"cpu","lanes":4,"order":["d1","d0"],"tile":{"d0":3,"d1":4},"vector":"d1"},"workload":"0000"}' > %t.other
// RUN: %dlas_opt %s --dlas-attach-schedules='schedule=tuned records=%t.other' | FileCheck %s --check-prefix=RULE

// The schedule does not fit: a remark, and the rule's is taken.
// RUN: echo '{"schedule":{"kind":"cpu","lanes":4,"order":["d1"],"tile":{"d1":4},"vector":"d1"},"workload":"bab34f053090e8174e43ac78158df4f87ac0b22eb3011741c585541da7edfacc"}' > %t.wrong
// RUN: %dlas_opt %s --dlas-attach-schedules='schedule=tuned records=%t.wrong' 2>%t.remark | FileCheck %s --check-prefix=RULE
// RUN: FileCheck %s --check-prefix=REMARK < %t.remark
// RULE: dlas.schedule = {distribute = {d1 = 4 : i64}, kind = "cpu"
// REMARK: remark: {{.*}}: the schedule of bab34f053090e817 is not taken: order has `d1`; it must have each of `d0`, `d1` once

// RUN: not %dlas_opt %s --dlas-attach-schedules=schedule=tuned 2>&1 | FileCheck %s --check-prefix=ALONE
// ALONE: error: {{.*}}schedule=tuned and records=FILE go together
// RUN: echo 'none' > %t.text
// RUN: not %dlas_opt %s --dlas-attach-schedules='schedule=tuned records=%t.text' 2>&1 | FileCheck %s --check-prefix=TEXT
// TEXT: error: {{.*}}:1: expected {"workload": KEY, "schedule": {{[{]}}...}} on a line, found `none`
// RUN: not %dlas_opt %s --dlas-attach-schedules='schedule=tuned records=%t.absent' 2>&1 | FileCheck %s --check-prefix=ABSENT
// ABSENT: error: cannot read {{.*}}.absent: No such file or directory

#id = affine_map<(d0, d1) -> (d0, d1)>

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {

func.func @columns(%x: tensor<6x20xf32>) -> tensor<6x20xf32> {
  %y = flow.dispatch.region -> (tensor<6x20xf32>) {
    %e = tensor.empty() : tensor<6x20xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<6x20xf32>) outs(%e : tensor<6x20xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = arith.negf %p : f32
      linalg.yield %t : f32
    } -> tensor<6x20xf32>
    flow.return %1 : tensor<6x20xf32>
  }
  return %y : tensor<6x20xf32>
}
}
