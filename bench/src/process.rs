use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;

/// Clock ticks a second in `/proc`; 100 on every Linux architecture that Rust supports, independent of the kernel's own
/// clock.
const TICKS: f64 = 100.0;

/// Bytes of a memory page in `/proc/PID/statm`.
const PAGE: u64 = 4096;

/// The usage of one process.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time since it started, user and system, all threads.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// The usage of process `pid` so far (Linux, 4 kB pages).
///
/// # Errors
/// When there is no such process or no `/proc`.
pub fn usage(pid: u32) -> Result<Usage> {
    let dir = Path::new("/proc").join(pid.to_string());
    let stat = read_stat(&dir).with_context(|| format!("process {pid} cannot be read"))?;
    let statm = fs::read_to_string(dir.join("statm"))?;
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .with_context(|| format!("/proc/{pid}/statm has no second number: {statm:?}"))?;
    Ok(Usage {
        cpu: Duration::from_secs_f64(stat.seconds),
        resident_bytes: pages * PAGE,
    })
}

/// Who used the processor over some time: seconds by process name, all processes of that name together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CpuSplit(BTreeMap<String, f64>);

impl CpuSplit {
    /// The processor time of every process until now. Linux only; elsewhere it is empty.
    #[must_use]
    pub fn now() -> Self {
        let mut split = BTreeMap::new();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        // Only the numbers: `self` and `thread-self` are the same processes under other names.
        let numbered = |dir: &fs::DirEntry| {
            let name = dir.file_name();
            name.to_str()
                .is_some_and(|name| name.parse::<u32>().is_ok())
        };
        for dir in processes.filter(numbered) {
            // A process that has just ended has nothing to count.
            if let Ok(stat) = read_stat(&dir.path()) {
                *split.entry(stat.name).or_default() += stat.seconds;
            }
        }
        Self(split)
    }

    /// The usage since `earlier`, without names under 1 percent of the total.
    #[must_use]
    pub fn since(&self, earlier: &CpuSplit) -> CpuSplit {
        let used = |(name, now): (&String, &f64)| {
            let before = earlier.0.get(name).copied().unwrap_or(0.0);
            (name.clone(), (now - before).max(0.0))
        };
        let mut split: BTreeMap<_, _> = self.0.iter().map(used).collect();
        let total: f64 = split.values().sum();
        split.retain(|_, seconds| *seconds > total / 100.0);
        CpuSplit(split)
    }

    /// Seconds of processor time of all processes whose name begins with `name`.
    #[must_use]
    pub fn of(&self, name: &str) -> f64 {
        let named = self.0.iter().filter(|(known, _)| known.starts_with(name));
        named.map(|(_, seconds)| seconds).sum()
    }

    /// Seconds of processor time by process name.
    #[must_use]
    pub fn seconds(&self) -> &BTreeMap<String, f64> {
        &self.0
    }
}

struct Stat {
    name: String,
    seconds: f64,
}

fn read_stat(dir: &Path) -> Result<Stat> {
    parse_stat(&fs::read_to_string(dir.join("stat"))?)
}

fn parse_stat(stat: &str) -> Result<Stat> {
    // The name stands in parentheses and may hold any character, so the last one closes it.
    let (head, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let (_, name) = head.split_once('(').context("no name in stat")?;
    // A kernel worker is named after its last job (`kworker/u8:0-writeback`), and would count as new with each.
    let name = if name.starts_with("kworker/") {
        "kworker"
    } else {
        name
    };
    // After the name come state, ppid, ...; utime and stime are the 12th and 13th.
    let mut ticks = fields
        .split_ascii_whitespace()
        .skip(11)
        .map(str::parse::<f64>);
    let mut tick = || {
        ticks
            .next()
            .context("stat is too short")?
            .context("stat has no number")
    };
    Ok(Stat {
        name: name.to_owned(),
        seconds: (tick()? + tick()?) / TICKS,
    })
}

#[cfg(test)]
mod tests {
    use super::{parse_stat, usage};

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = parse_stat("7 (a) (b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0").unwrap();
        assert_eq!((stat.name.as_str(), stat.seconds), ("a) (b", 2.0));
    }

    #[test]
    fn kernel_workers_are_one_whatever_they_worked_on_last() {
        let stat =
            parse_stat("7 (kworker/u8:0-writeback) I 2 0 0 0 -1 1 0 0 0 0 0 50 0 0 20 0").unwrap();
        assert_eq!((stat.name.as_str(), stat.seconds), ("kworker", 0.5));
    }

    #[test]
    fn nonsense_is_an_error() {
        for bad in [
            "",
            "7 (a",
            "7 (a) S 1",
            "7 (a) S 1 7 7 0 -1 4194560 1 0 0 0 x y",
        ] {
            assert!(parse_stat(bad).is_err(), "{bad:?} was read");
        }
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(usage(std::process::id()).is_ok_and(|usage| usage.resident_bytes > 0));
    }
}
