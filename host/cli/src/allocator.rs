//! Settings of the allocator, for a program that makes large buffers and drops them with every batch.
//!
//! glibc's takes memory of 128 KiB and more from the system, gives it back when it is freed, and faults it in again with the next
//! batch. With these settings it keeps what was freed, within bounds for each of its heaps: the main one's is below, the others
//! (one or a few for each thread) have 64 MiB at most. Elsewhere (macOS, musl) the system's allocator is taken as it is.

/// Has freed memory kept for what comes next. To be called first in `main`: what is allocated before does not count.
///
/// Does nothing where the environment has settings for glibc's allocator, as someone knows better: `GLIBC_TUNABLES` with a
/// `glibc.malloc` in it, and the variables of `mallopt(3)`, `MALLOC_ARENA_MAX` for example.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    glibc::keep_freed_memory();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    use libc::{M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, c_int};

    /// Larger allocations are given back to the system as soon as they are freed: those of state that grows, not those of a batch.
    const GIVEN_BACK_BYTES: c_int = 32 << 20;

    /// Free memory beyond this at the end of a heap is given back.
    const KEPT_BYTES: c_int = 256 << 20;

    /// Those that `mallopt(3)` names, without `MALLOC_CHECK_`, which looks for mistakes.
    const VARIABLES: [&str; 7] = [
        "MALLOC_ARENA_MAX",
        "MALLOC_ARENA_TEST",
        "MALLOC_MMAP_MAX_",
        "MALLOC_MMAP_THRESHOLD_",
        "MALLOC_PERTURB_",
        "MALLOC_TOP_PAD_",
        "MALLOC_TRIM_THRESHOLD_",
    ];

    pub(super) fn keep_freed_memory() {
        if !is_set_from_outside(|name| std::env::var(name).ok()) {
            // Where glibc does not take a value (32-bit systems), its own stays.
            set(M_MMAP_THRESHOLD, GIVEN_BACK_BYTES);
            set(M_TRIM_THRESHOLD, KEPT_BYTES);
        }
    }

    fn is_set_from_outside(variable: impl Fn(&str) -> Option<String>) -> bool {
        let tunables = variable("GLIBC_TUNABLES").is_some_and(|value| value.contains("glibc.malloc."));
        tunables || VARIABLES.iter().any(|name| variable(name).is_some())
    }

    /// Whether the value was taken.
    #[expect(unsafe_code, reason = "a function of the C library")]
    fn set(parameter: c_int, value: c_int) -> bool {
        // SAFETY: `mallopt` takes two numbers by value, and holds the main heap's lock while it stores them, each a word; a
        // thread that allocates meanwhile sees the old number or the new one.
        unsafe { libc::mallopt(parameter, value) == 1 }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_values_are_taken() {
            assert!(set(M_MMAP_THRESHOLD, GIVEN_BACK_BYTES) && set(M_TRIM_THRESHOLD, KEPT_BYTES));
        }

        #[test]
        fn settings_from_outside_are_left_alone() {
            let is_set = |name: &'static str, value: &'static str| {
                is_set_from_outside(|asked| (asked == name).then(|| value.to_owned()))
            };
            assert!(is_set("GLIBC_TUNABLES", "glibc.malloc.arena_max=2"));
            assert!(VARIABLES.iter().all(|name| is_set(name, "1")));
            assert!(!is_set("GLIBC_TUNABLES", "glibc.pthread.rseq=0"));
            assert!(!is_set("HOME", "/"));
        }
    }
}
