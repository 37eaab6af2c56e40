//! Loading a model of the shape of LLaMA-7B.

use std::path::Path;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::json;

use super::bars::Bar;
use super::setting::{Measured, Setting};
use super::workbench::{ask, remove};
use xtask::output::{note, say};
use xtask::process;

/// Output of `bench-load`.
#[derive(Debug, Deserialize)]
struct Loaded {
    load_s: f64,
    private_mib: u64,
    private_before_mib: u64,
    parameters: u64,
}

/// Disk that the model takes, with some to spare, in KiB.
const NEEDED_KIB: u64 = 15_000_000;
/// Seconds that loading may take.
const MOST_SECONDS: f64 = 1.0;
/// Private memory that the process may hold after it, in megabytes.
const MOST_PRIVATE_MB: f64 = 300.0;

pub(crate) fn run(setting: &Setting<'_>) -> Result<Option<Measured>> {
    if !setting.args.with_7b {
        note("skipped: it writes 13.5 GB first (--with_7b)");
        return Ok(None);
    }
    if !setting.bench.out.join("7b/config.json").exists() {
        refuse_small_disk(setting, &setting.bench.out)?;
    }
    let dir = setting.bench.random_model("7b")?;
    let loaded = ask(setting.bench.program("bench-load").arg("--base_model").arg(&dir));
    if !setting.args.keep {
        remove(&dir)?;
    }
    let Loaded { load_s, private_mib, private_before_mib, parameters } = loaded?;
    say(&format!(
        "loading: {parameters} parameters in {load_s:.3} s; private memory {private_mib} MiB, {private_before_mib} MiB before"
    ));
    let private_mb = private_mib as f64 * 1.048_576;
    let bars = vec![
        Bar {
            what: format!("7B loaded in under {MOST_SECONDS} s: {load_s:.3} s"),
            met: load_s < MOST_SECONDS,
        },
        Bar {
            what: format!("7B loaded with under {MOST_PRIVATE_MB} MB of private memory: {private_mb:.0} MB"),
            met: private_mb < MOST_PRIVATE_MB,
        },
    ];
    let measured = json!({
        "parameters": parameters,
        "load_s": load_s,
        "private_mib": private_mib,
        "private_before_mib": private_before_mib,
    });
    Ok(Some((measured, bars)))
}

fn refuse_small_disk(setting: &Setting<'_>, dir: &Path) -> Result<()> {
    let text = process::capture(setting.bench.workspace.command("df").arg("-Pk").arg(dir))?;
    match free_kib(&text) {
        Some(free) if free < NEEDED_KIB => {
            bail!(
                "`{}` has {} GB free; expected at least {} GB",
                dir.display(),
                free / 1_000_000,
                NEEDED_KIB / 1_000_000
            )
        }
        _ => Ok(()),
    }
}

/// Returns the column "available" of `df -Pk`.
fn free_kib(text: &str) -> Option<u64> {
    text.lines().nth(1)?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_disk_is_read_from_df() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 264 168 79691 17% /\n";
        assert_eq!(free_kib(text), Some(79_691));
        assert_eq!(free_kib("nothing"), None);
    }
}
