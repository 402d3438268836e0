//! How the operating system shares the processor between this program and others.

/// Asks that threads of this program which wake up wait their turn and interrupt nobody: `SCHED_BATCH`,
/// see sched(7). Threads inherit it from the one that starts them, so it is asked before there are others.
///
/// A worker is woken for every few messages. On a busy processor each wake-up would interrupt the broker or the
/// database, whose next wake-up then brings few messages again. All of them would work in ever smaller batches. On an
/// idle processor nothing changes; shares of the processor and `nice` stay as they are. Linux only; a system that
/// refuses it goes on as before.
pub fn in_turn() {
    #[cfg(target_os = "linux")]
    {
        #[expect(
            unsafe_code,
            reason = "one system call that no crate wraps: it reads the struct it is given and keeps nothing"
        )]
        // SAFETY: `param` is a valid `sched_param` for the time of the call; 0 is the calling thread.
        let _refused = unsafe {
            let param: libc::sched_param = std::mem::zeroed();
            libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const param)
        };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs;

    /// The scheduling policy of the calling thread, as proc(5) tells it.
    fn policy() -> Option<u32> {
        let stat = fs::read_to_string("/proc/thread-self/stat").ok()?;
        // The name stands in parentheses and may hold anything; the policy is the 41st field, the 39th after it.
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_ascii_whitespace().nth(38)?.parse().ok()
    }

    #[test]
    fn a_thread_and_those_it_starts_wait_their_turn() {
        let (own, childs) = std::thread::spawn(|| {
            super::in_turn();
            (policy(), std::thread::spawn(policy).join().ok().flatten())
        })
        .join()
        .unwrap();
        assert_eq!((own, childs), (Some(3), Some(3)), "SCHED_BATCH is 3");
    }
}
