//! The program that `cargo xtask fuzz` runs: libFuzzer over the target that `FUZZ_TARGET` names.
#![no_main]

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use fuzz::Target;

/// The last panic, which may be one that a reader catches and turns into an error.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());
static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(init: begin(), |bytes: &[u8]| {
    let Some(target) = TARGET.get() else { return };
    let begun = Instant::now();
    if catch_unwind(AssertUnwindSafe(|| target.check(bytes))).is_err() {
        end(&format!("panic: {}", LAST_PANIC.lock().map(|text| text.clone()).unwrap_or_default()));
    }
    if let Some(used_s) = processor_s(begun.elapsed()).filter(|&used_s| used_s > target.limit_s + 1) {
        end(&format!("{}: {used_s} s of processor time for {} bytes; at most {} s", target.name, bytes.len(), target.limit_s));
    }
});

/// Finds the target, and writes its first inputs into the directory that `FUZZ_SEEDS` names.
fn begin() {
    // In place of libFuzzer's, which ends the process though a reader may catch the panic.
    std::panic::set_hook(Box::new(|panic| {
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = panic.to_string();
        }
    }));
    if std::env::var_os("FUZZ_LIST").is_some() {
        let names: String = fuzz::TARGETS.iter().map(|target| format!("{}\n", target.name)).collect();
        let _ = std::io::stdout().write_all(names.as_bytes());
        std::process::exit(0);
    }
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = fuzz::find(&name) else { end(&format!("FUZZ_TARGET is `{name}`, no target")) };
    let _ = TARGET.set(target);
    if let Some(dir) = std::env::var_os("FUZZ_SEEDS").map(std::path::PathBuf::from) {
        for (index, seed) in target.seeds().iter().enumerate() {
            if std::fs::write(dir.join(format!("seed-{index}")), seed).is_err() {
                end(&format!("cannot write into `{}`", dir.display()));
            }
        }
    }
}

/// Ends with a finding: libFuzzer keeps the input.
fn end(text: &str) -> ! {
    let _ = std::io::stderr().write_all(format!("FINDING: {text}\n").as_bytes());
    std::process::abort()
}

/// Returns the seconds of processor time of an input that took this long by the clock, with those of at most a second before it; a
/// machine that has other things to do makes no finding. `None` where it is little.
fn processor_s(elapsed: Duration) -> Option<u64> {
    static BEFORE: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let mut before = BEFORE.lock().ok()?;
    let (read_at, ticks_before) = *before.get_or_insert_with(|| (Instant::now(), ticks()));
    if read_at.elapsed() < Duration::from_secs(1) {
        return None;
    }
    let now = ticks();
    *before = Some((Instant::now(), now));
    (elapsed > Duration::from_secs(1)).then(|| (now - ticks_before) / 100)
}

/// Returns the hundredths of a second that all threads of this process have used (Linux, proc(5): fields 14 and 15 of `stat`).
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    behind_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
