//! What the process takes of its machine, as the system accounts for it (`proc(5)`): nothing elsewhere than on Linux.

use opentelemetry::metrics::Meter;

/// Tells it whenever somebody looks.
pub(super) fn observe(meter: &Meter) {
    meter
        .f64_observable_counter("process.cpu.time")
        .with_unit("s")
        .with_description("CPU time of the process, its own and the kernel's for it")
        .with_callback(|to| {
            if let Some(stat) = Stat::read() {
                to.observe(stat.cpu_seconds, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.memory.usage")
        .with_unit("By")
        .with_description("Memory of the process that is in RAM")
        .with_callback(|to| {
            if let Some(stat) = Stat::read() {
                to.observe(stat.resident_bytes, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.thread.count")
        .with_description("Threads of the process")
        .with_callback(|to| {
            if let Some(stat) = Stat::read() {
                to.observe(stat.threads, &[]);
            }
        })
        .build();
    meter
        .u64_observable_gauge("process.unix.file_descriptor.count")
        .with_description("File descriptors that are open")
        .with_callback(|to| {
            if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
                // One of them is the directory itself.
                let open = open.count().saturating_sub(1);
                to.observe(u64::try_from(open).unwrap_or(u64::MAX), &[]);
            }
        })
        .build();
}

struct Stat {
    cpu_seconds: f64,
    threads: u64,
    resident_bytes: u64,
}

impl Stat {
    #[cfg(target_os = "linux")]
    fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        let page_bytes = u64::try_from(rustix::param::page_size()).ok()?;
        Self::parse(&text, rustix::param::clock_ticks_per_second(), page_bytes)
    }

    #[cfg(not(target_os = "linux"))]
    fn read() -> Option<Self> {
        None
    }

    /// Fields 14 and 15 are the CPU time in ticks, 20 the threads, 24 the pages in RAM. The second is the command's name in
    /// brackets, and may have anything in it, so they are counted from behind it.
    fn parse(text: &str, ticks_per_second: u64, page_bytes: u64) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ticks = std::time::Duration::from_secs(field(14)? + field(15)?);
        let per_second = std::time::Duration::from_secs(ticks_per_second);
        Some(Self {
            cpu_seconds: ticks.div_duration_f64(per_second),
            threads: field(20)?,
            resident_bytes: field(24)? * page_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let text = "42 (odd) name) S 1 42 42 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 7 0 100 1000 250 18446744073709551615";
        let stat = Stat::parse(text, 100, 4096).unwrap();
        assert!((stat.cpu_seconds - 2.0).abs() < f64::EPSILON);
        assert_eq!((stat.threads, stat.resident_bytes), (7, 250 * 4096));
        assert!(Stat::parse("42 (x) S 1", 100, 4096).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_threads_and_memory() {
        let stat = Stat::read().unwrap();
        assert!(stat.threads >= 1 && stat.resident_bytes > 1024 * 1024);
    }
}
