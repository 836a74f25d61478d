;; World `transform` by hand: a guest without any SDK, bindings generator or language runtime.
;;
;; Input and output: one column `text` (utf8, never null). ASCII letters become upper case; the output's columns are the
;; input's own memory, changed in place.
;;
;; How the contract looks from inside (the component model's canonical ABI; all numbers little-endian):
;;   list, string       pointer, length                                                         8 bytes
;;   field              0 name (string), 8 data-type (byte), 9 nullable (byte)                  12 bytes
;;   signature          0 input (list of field), 8 output (list of field)                       16 bytes
;;   column             0 data's case (byte; 3 = utf8), 4 offsets, 12 bytes (lists),
;;                      20 validity's case (byte; 0 = none), 24 validity (list)                 32 bytes
;;   batch              0 rows, 4 columns (list of column)                                      12 bytes
;;   stage-output       0 batch, 12 rejected (list)                                             20 bytes
;;   result<T, E>       0 case (byte; 0 = ok), 4 T or E
;;
;; Memory: static data below 1024, then a heap that only grows until the host says, after each call, that it has read the
;; answer (`cabi_post_...`). Arguments lie in the heap: the host asks `cabi_realloc` for room.
(module
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 1024))

  ;; 16: result<signature, string>: ok, input at 64, output at 64.
  (data (i32.const 16) "\00\00\00\00" "\40\00\00\00\01\00\00\00" "\40\00\00\00\01\00\00\00")
  ;; 64: one field: name at 80 (4 bytes), type 3 (utf8), not nullable.
  (data (i32.const 64) "\50\00\00\00\04\00\00\00" "\03\00\00\00")
  (data (i32.const 80) "text")
  ;; 96: result<stage-output, failure>: ok. `run` writes rows and columns at 100; nothing is ever rejected.
  ;; 128: the other result: a failure with code 2 (bad-input) and its message at 160.
  (data (i32.const 128) "\01\00\00\00" "\02\00\00\00" "\a0\00\00\00\17\00\00\00")
  (data (i32.const 160) "one utf8 column, please")

  ;; Room for `size` bytes. The host never gives back, and only asks for new room (`old` = 0) or for more of it.
  (func (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
    (local $start i32) (local $end i32)
    (local.set $start
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (local.set $end (i32.add (local.get $start) (local.get $size)))
    ;; Past 4 GiB the sum wraps.
    (if (i32.lt_u (local.get $end) (local.get $start)) (then (unreachable)))
    (if (i32.gt_u (local.get $end) (i32.shl (memory.size) (i32.const 16)))
      (then
        (if (i32.eq
              (memory.grow
                (i32.add
                  (i32.shr_u (i32.sub (local.get $end) (i32.shl (memory.size) (i32.const 16))) (i32.const 16))
                  (i32.const 1)))
              (i32.const -1))
          (then (unreachable)))))
    (memory.copy (local.get $start) (local.get $old) (local.get $old_size))
    (global.set $heap (local.get $end))
    (local.get $start))

  (func $free
    (global.set $heap (i32.const 1024)))

  ;; describe: func(params: list<param>) -> result<signature, string>
  (func (export "millpond:plugin/transform-guest@0.1.0#describe") (param $params i32) (param $count i32) (result i32)
    (i32.const 16))
  (func (export "cabi_post_millpond:plugin/transform-guest@0.1.0#describe") (param i32)
    (call $free))

  ;; run: func(task: task-info, input: batch) -> result<stage-output, failure>
  (func (export "millpond:plugin/transform-guest@0.1.0#run")
    (param $batch_time i64) (param $partition i32) (param $partitions i32) (param $attempt i32)
    (param $rows i32) (param $columns i32) (param $count i32)
    (result i32)
    (if (i32.or
          (i32.ne (local.get $count) (i32.const 1))
          (i32.ne (i32.load8_u (local.get $columns)) (i32.const 3)))
      (then (return (i32.const 128))))
    (call $upper (i32.load offset=12 (local.get $columns)) (i32.load offset=16 (local.get $columns)))
    (i32.store (i32.const 100) (local.get $rows))
    (i32.store (i32.const 104) (local.get $columns))
    (i32.store (i32.const 108) (local.get $count))
    (i32.const 96))
  (func (export "cabi_post_millpond:plugin/transform-guest@0.1.0#run") (param i32)
    (call $free))

  ;; Bytes of characters beyond ASCII are all above 127, so they stay as they are.
  (func $upper (param $at i32) (param $length i32)
    (local $end i32) (local $byte i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $byte (i32.load8_u (local.get $at)))
        (if (i32.lt_u (i32.sub (local.get $byte) (i32.const 97)) (i32.const 26))
          (then (i32.store8 (local.get $at) (i32.sub (local.get $byte) (i32.const 32)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))))
