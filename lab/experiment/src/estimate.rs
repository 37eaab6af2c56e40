//! Estimates of time and disk, before an experiment and while it runs.

use anyhow::Result;

use super::digest;
use super::matrix::{Job, Measure};
use super::setting::Setting;
use super::store::Store;
use xtask::measure::median;
use xtask::output::say;

/// Says what would run. Touches nothing.
pub(crate) fn print(setting: &Setting) -> Result<()> {
    let rounds = setting.rounds();
    say(&format!("profile {}: {}", setting.profile_name, setting.profile.about));
    let store = Store::of(&setting.out);
    let (mut seconds, mut waiting, mut total) = (0.0, 0, 0);
    for cell in rounds.iter().flatten() {
        total += 1;
        let finished = store.finished(&cell.id, &setting.key(cell)?).is_some();
        let estimate = seconds_of(cell, setting);
        if !finished {
            waiting += 1;
            seconds += estimate;
        }
        let state = if finished { "finished".to_owned() } else { format!("about {}", duration(estimate)) };
        say(&format!("{:<48} {state}", cell.id));
    }
    if setting.merges() && setting.lora_weights.is_none() && waiting > 0 {
        let estimate = training_seconds(setting, None);
        seconds += estimate;
        say(&format!("{:<48} about {}", "making the adapter", duration(estimate)));
    }
    say(&format!(
        "{total} cells, {} finished; {waiting} to run: about {}",
        total - waiting,
        duration(seconds)
    ));
    say(&format!("disk: about {} in `{}`", size(disk(setting)?), setting.out.display()));
    Ok(())
}

/// Estimates the seconds left: those of the waiting cells, corrected by how the finished ones kept to their estimate.
pub(crate) fn pace_of(spent: &[(usize, f64)], waiting: &[usize], cells: &[Job], setting: &Setting) -> f64 {
    let ratios: Vec<f64> =
        spent.iter().map(|&(place, wall_s)| wall_s / seconds_of(&cells[place], setting)).collect();
    let ratio = if ratios.is_empty() { 1.0 } else { median(&ratios) };
    ratio * waiting.iter().map(|&place| seconds_of(&cells[place], setting)).sum::<f64>()
}

/// Estimates the seconds of a cell on the machine that the profile's figures are of.
fn seconds_of(cell: &Job, setting: &Setting) -> f64 {
    let profile = &setting.profile;
    let pace = profile.estimate;
    let answers = pace.start_s + setting.records.evaluation.len() as f64 / pace.answers_per_s;
    match cell.measure {
        Measure::Quality => {
            answers + 2.0 * (pace.start_s + profile.compare_records as f64 / pace.answers_per_s)
        }
        Measure::Speed => pace.start_s + 3.0 * profile.new_tokens as f64 / pace.decode_tokens_per_s,
        Measure::Training => training_seconds(setting, cell.size) + answers,
    }
}

fn training_seconds(setting: &Setting, size: Option<usize>) -> f64 {
    let number = |name: &str, default: f64| {
        let value = setting.profile.finetune.get(name);
        value.and_then(toml::Value::as_integer).map_or(default, |value| value as f64)
    };
    let records = size.unwrap_or(setting.records.train.len()) as f64;
    let seen = match setting.profile.finetune.get("max_steps").and_then(toml::Value::as_integer) {
        Some(steps) => steps as f64 * number("batch_size", 128.0),
        None => records * number("num_epochs", 3.0),
    };
    setting.profile.estimate.start_s + seen / setting.profile.estimate.train_records_per_s
}

/// Estimates the bytes of what stays: merged models in the precision of the files, adapters.
fn disk(setting: &Setting) -> Result<f64> {
    let base = std::path::Path::new(&setting.base_model);
    let base_bytes = if base.exists() { digest::size_of(base)? as f64 } else { 0.0 };
    // Bases are in half precision as a rule; float32 takes twice that.
    let factor = if setting.profile.merge_dtype.as_deref() == Some("float32") { 2.0 } else { 1.0 };
    let merged = setting.file.variants.iter().filter(|variant| variant.merge.is_some()).count() as f64;
    let adapters = if setting.merges() {
        1.0
    } else {
        let per_variant = setting.sizes.len() * setting.seeds.len() * setting.repeats;
        (setting.file.variants.len() * per_variant) as f64
    };
    Ok(merged * factor * base_bytes + adapters * setting.profile.estimate.adapter_mib * f64::from(1 << 20))
}

/// Formats `75` as `1 min 15 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

fn size(bytes: f64) -> String {
    if bytes >= 1e9 { format!("{:.1} GB", bytes / 1e9) } else { format!("{:.0} MB", bytes / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_hours_minutes_and_seconds() {
        assert_eq!(duration(7.4), "7 s");
        assert_eq!(duration(75.0), "1 min 15 s");
        assert_eq!(duration(7260.0), "2 h 1 min");
    }
}
