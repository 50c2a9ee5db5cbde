// Every mistake in a pipeline is found before the input is read: the file does not even exist.

// RUN: not %dlas_opt no-such-file --pass-pipeline='builtin.module(cse,dlas-set-targe)' 2>&1 | FileCheck %s --check-prefix=NAME
// NAME: --pass-pipeline:1:20: error: `dlas-set-targe` is not a known pass (did you mean `dlas-set-target`?)
// NAME-NEXT: builtin.module(cse,dlas-set-targe)
// NAME-NEXT: {{^ {19}\^~{13}$}}

// RUN: not %dlas_opt no-such-file --pass-pipeline='func.func(canonicalise)' 2>&1 | FileCheck %s --check-prefix=NATIVE
// NATIVE: --pass-pipeline:1:11: error: `canonicalise` is not a known pass (did you mean `canonicalize`?)

// RUN: not %dlas_opt no-such-file --pass-pipeline='canonicalize{max-iteration=3}' 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: --pass-pipeline:1:14: error: `canonicalize` has no option `max-iteration` (did you mean `max-iterations`?)
// OPTION-NEXT: canonicalize{max-iteration=3}
// OPTION-NEXT: {{^ {13}\^~{12}$}}

// RUN: not %dlas_opt no-such-file --pass-pipeline='canonicalize{top-down=true max-iterations=x}' 2>&1 | FileCheck %s --check-prefix=VALUE
// VALUE: --pass-pipeline:1:43: error: `canonicalize`: for the --max-iterations option: 'x' value invalid

// RUN: not %dlas_opt no-such-file --pass-pipeline='func.func(cse,dlas-set-target)' 2>&1 | FileCheck %s --check-prefix=MODULE
// MODULE: --pass-pipeline:1:15: error: `dlas-set-target` runs on the module: move it out of `func.func(...)`

// RUN: not %dlas_opt no-such-file --pass-pipeline='func.func(cse' 2>&1 | FileCheck %s --check-prefix=OPEN
// OPEN: --pass-pipeline:1:10: error: this `(` is not closed

// RUN: not %dlas_opt no-such-file --pass-pipeline='cse cse' 2>&1 | FileCheck %s --check-prefix=COMMA
// COMMA: --pass-pipeline:1:5: error: expected `,` or the end of the pipeline, found `c`

// RUN: not %dlas_opt no-such-file --dlas-set-target=threads=0 2>&1 | FileCheck %s --check-prefix=FLAG
// FLAG: --dlas-set-target:1:25: error: `threads`: expected at least 1, found 0

// RUN: not %dlas_opt no-such-file --canonicalise 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: `--canonicalise` is neither a flag nor a pass (did you mean `canonicalize`?)

// RUN: not %dlas_opt no-such-file --cse --preset=host/stock 2>&1 | FileCheck %s --check-prefix=TWO
// TWO: error: --preset and --cse cannot be given together

// RUN: not %dlas_opt no-such-file --cse --mlir-print-ir-after=csee 2>&1 | FileCheck %s --check-prefix=PRINT
// PRINT: error: there is no `csee` in the pipeline to print the IR around (did you mean `cse`?)

// RUN: not %dlas_opt no-such-file --verify-each=perhaps 2>&1 | FileCheck %s --check-prefix=SWITCH
// SWITCH: error: --verify-each: expected true or false, found `perhaps`

// RUN: not %dlas_opt no-such-file --cse 2>&1 | FileCheck %s --check-prefix=FILE
// FILE: error: no-such-file: No such file or directory
