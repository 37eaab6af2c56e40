//! Damaged checkpoints.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::report::Report;
use crate::scene::{Results, Scene, copy, names, run};

/// A way to damage a file.
type Damage = (&'static str, fn(&mut Vec<u8>));

/// Every class of byte: the length of a header, its text, the first and last value; and what disks and copies do.
const DAMAGES: [Damage; 9] = [
    ("first byte", |bytes| bytes[0] ^= 1),
    ("header", |bytes| flip(bytes, 20)),
    ("first value", |bytes| {
        let at = data(bytes);
        flip(bytes, at);
    }),
    ("middle", |bytes| {
        let at = bytes.len() / 2;
        flip(bytes, at);
    }),
    ("last byte", |bytes| flip(bytes, usize::MAX)),
    ("cut", |bytes| bytes.truncate(bytes.len() - 1)),
    ("one byte more", |bytes| bytes.push(b'\n')),
    ("zeroes", |bytes| {
        let half = bytes.len() / 2;
        bytes[half..].fill(0);
    }),
    ("empty", Vec::clear),
];

fn flip(bytes: &mut [u8], at: usize) {
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 4;
}

/// Returns the start of the values of a safetensors file.
fn data(bytes: &[u8]) -> usize {
    let header = bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
    usize::try_from(header).map_or(0, |header| header.saturating_add(8))
}

/// Damages the newest checkpoint of a run, one file and one way at a time.
///
/// Laws: it is refused by the name of the file, nothing in the directory changes, and the run goes on from the intact
/// one that the message offers, to the end of an undisturbed run.
pub(crate) fn run_all(scene: &Scene, expected: &Results, every: usize, report: &mut Report) -> Result<()> {
    // A finished run without its newest checkpoints is one that was killed.
    copy(&scene.path("whole"), &scene.path("killed"))?;
    for name in names(&scene.path("killed"))?.into_iter().filter(|name| !name.starts_with("checkpoint-")) {
        let path = scene.path("killed").join(name);
        if path.is_file()
            && path.file_name().is_some_and(|name| name != "metrics.jsonl" && name != "inputs.json")
        {
            fs::remove_file(path)?;
        }
    }
    let (step, newest) = scene.checkpoints("killed")?.pop_last().context("no checkpoint")?;
    let newest = newest.file_name().context("a name")?.to_owned();
    let mut number = 0;
    for file in names(&scene.path("killed").join(&newest))? {
        for (way, damage) in DAMAGES {
            number += 1;
            if number % every != 0 {
                continue;
            }
            copy(&scene.path("killed"), &scene.path("damaged"))?;
            let path = scene.path("damaged").join(&newest).join(&file);
            let mut bytes = fs::read(&path)?;
            damage(&mut bytes);
            fs::write(&path, bytes)?;
            report.add(
                "finetune",
                &format!("damaged: {way}"),
                refused(scene, &file, step).with_context(|| file.clone()),
            );
            fs::remove_dir_all(scene.path("damaged"))?;
        }
    }
    copy(&scene.path("killed"), &scene.path("damaged"))?;
    fs::remove_file(scene.path("damaged").join(&newest).join("optimizer.safetensors"))?;
    let outcome = refused(scene, "optimizer.safetensors", step).and_then(|()| go_on(scene, expected));
    report.add("finetune", "damaged: missing", outcome);
    Ok(())
}

fn refused(scene: &Scene, file: &str, step: u64) -> Result<()> {
    let before = contents(&scene.path("damaged"))?;
    let ended = run(&mut scene.finetune("damaged"))?;
    let last = ended.stderr.lines().last().unwrap_or_default();
    ensure!(ended.code == Some(1), "went on with a damaged {file}: {:?} {last}", ended.code);
    ensure!(
        last.contains(file) && last.contains(&format!("checkpoint-{step}")),
        "does not name {file}: {last}"
    );
    ensure!(last.contains("is intact: resume from that"), "offers no other: {last}");
    ensure!(contents(&scene.path("damaged"))? == before, "a refusal changed the directory");
    Ok(())
}

/// Resumes from the newest intact checkpoint.
fn go_on(scene: &Scene, expected: &Results) -> Result<()> {
    let ended = run(&mut scene.finetune("damaged"))?;
    let offered =
        ended.stderr.lines().last().and_then(|line| line.split('`').nth(3)).context("no offer")?.to_owned();
    run(&mut scene.finetune_from("damaged", &offered))?.ok()?;
    ensure!(scene.results("damaged")? == *expected, "another end than that of an undisturbed run");
    Ok(())
}

/// Lists every file below a directory, by path.
fn contents(dir: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in names(dir)? {
        let path = dir.join(&name);
        if path.is_dir() {
            found.extend(
                contents(&path)?.into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)),
            );
        } else {
            found.push((name, fs::read(path)?));
        }
    }
    Ok(found)
}
