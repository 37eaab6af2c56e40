//! The engine over programs of a few lines of shell, which write what the real ones do.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::float_cmp, reason = "figures come through untouched")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Parser;
use results::Cell;
use tempfile::TempDir;

use super::args::ExperimentArgs;
use super::programs::Programs;
use super::run_file::RunFile;
use super::setting::{PROGRAMS, Setting};
use super::{engine, environment, estimate};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: ExperimentArgs,
}

/// Head of every program: its flags by name, and a line of `calls` for each call.
const HEAD: &str = r#"#!/bin/sh
echo "$0 $*" >> "$(dirname "$0")/calls"
json= out= adapter= base= file= scale=1
all="$*"
while [ $# -gt 0 ]; do
  case "$1" in
    --json) json=$2;; --output_dir) out=$2;; --lora_weights) adapter=$2;; --base_model) base=$2;;
    --config) file=$2;; --scale) scale=$2;;
  esac
  shift
done
"#;

const FINETUNE: &str = r#"
out=$(sed -n 's/^output_dir = "\(.*\)"/\1/p' "$file")
mkdir -p "$out/checkpoint-9" "$out/runs"
echo weights > "$out/adapter_model.safetensors"; echo '{}' > "$out/adapter_config.json"
printf '%s\n' '{"step":1,"loss":2.0}' '{"step":2,"eval_loss":1.5}' > "$out/metrics.jsonl"
echo '{"train_s":4,"tokens_per_s":10,"final_loss":1.0,"best_val_loss":1.5,"load_s":1,"quantise_s":0.5,"forward_s":1,
  "backward_s":2,"optimizer_s":1,"peak_host_mib":100,"base_bytes":64}' > "$out/summary.json"
"#;

const MERGE: &str = r#"
case "$all" in *nf4*) echo 'error: nf4 is not in this build' >&2; exit 2;; esac
mkdir -p "$out"; echo "$adapter" > "$out/weights"; echo "$scale" > "$out/scale"
if [ -n "$adapter" ]; then changed=3; else changed=0; fi
echo "{\"targets\":[{\"changed\":$changed,\"elements\":4}]}" > "$out/merge_report.json"
"#;

const EVALUATE: &str = r#"
echo '{"exact_match":0.5,"rouge_l":0.75,"perplexity":1.25,"samples":[
  {"instruction":"i","input":"","expected":"e","answer":"a","kind":"k"}]}' > "$json"
"#;

/// A merge of the wrong scale is far from the reference.
const COMPARE: &str = r#"
difference=0 agreement=1
if [ -f "$base/scale" ] && [ "$(cat "$base/scale")" != 1 ]; then difference=4.5 agreement=0.25; fi
echo "{\"token_agreement\":$agreement,\"first_diverging_token\":null,\"max_logit_diff\":$difference,\"mean_kl\":0,
  \"logit_diff\":[0]}" > "$json"
"#;

const DECODE: &str = r#"
echo '{"load_s":0.1,"first_token_s":[0.3,0.1,0.2],"token_s":[0.01,0.02,0.02],"peak_host_mib":50,"peak_device_mib":null}'
"#;

/// A place with programs, a model and records.
struct Scene {
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir_all(scene.path("bin")).unwrap();
        fs::create_dir_all(scene.path("datasets/tiny-llama")).unwrap();
        fs::create_dir_all(scene.path("datasets/records")).unwrap();
        fs::write(scene.path("datasets/tiny-llama/config.json"), "{}").unwrap();
        for (file, count) in [("train", 1408), ("validation", 100), ("test", 100)] {
            let records: Vec<String> =
                (0..count).map(|i| format!(r#"{{"instruction":"{i}","input":"","output":"{i}"}}"#)).collect();
            let text = format!("[{}]", records.join(","));
            fs::write(scene.path(&format!("datasets/records/{file}.json")), text).unwrap();
        }
        for (name, text) in [
            ("finetune", FINETUNE),
            ("merge", MERGE),
            ("evaluate", EVALUATE),
            ("compare", COMPARE),
            ("bench-decode", DECODE),
        ] {
            scene.program(name, text);
        }
        scene
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("{HEAD}{text}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn setting(&self, args: &[&str]) -> Setting {
        let args = Line::parse_from([&["experiment"], args].concat()).args;
        let text = match &*args.name {
            "merge-compare" => include_str!("../../experiments/merge-compare.toml"),
            _ => include_str!("../../experiments/lora-vs-qlora.toml"),
        };
        let file = (RunFile::parse(text).unwrap(), text.to_owned());
        let digests = environment::program_digests(&self.path("bin"), &PROGRAMS);
        Setting::resolve(&args, file, self.dir.path(), self.path("out"), digests).unwrap()
    }

    /// Runs an experiment; how many cells failed.
    fn run(&self, args: &[&str]) -> usize {
        let setting = self.setting(args);
        let root = self.dir.path().to_owned();
        let programs = Programs::take(self.path("bin"), root, &self.path("out")).unwrap();
        engine::run(&setting, &programs).unwrap()
    }

    fn results(&self) -> BTreeMap<String, Cell> {
        let text = fs::read_to_string(self.path("out/results.jsonl")).unwrap();
        let results = text.lines().map(|line| serde_json::from_str::<Cell>(line).unwrap());
        results.map(|result| (result.cell.clone(), result)).collect()
    }

    fn calls(&self) -> usize {
        let calls = fs::read_to_string(self.path("bin/calls")).unwrap_or_default();
        calls.lines().count()
    }
}

#[test]
fn the_lab_is_both_experiments_each_in_a_directory_of_its_own() {
    let tasks = |name: &str| {
        let args = Line::parse_from(["experiment", name, "--repeats", "2"]).args;
        let tasks = args.tasks(Path::new("lab"));
        tasks.into_iter().map(|task| (task.name, task.out, task.repeats)).collect::<Vec<_>>()
    };
    let task = |name: &str, out: &str| (name.to_owned(), Some(PathBuf::from(out)), Some(2));
    assert_eq!(
        tasks("lab"),
        [task("merge-compare", "lab/merge-compare"), task("lora-vs-qlora", "lab/lora-vs-qlora")]
    );
    assert_eq!(tasks("merge-compare"), [task("merge-compare", "lab")]);
}

#[test]
fn the_adapter_that_is_merged_has_its_curve_of_loss() {
    let scene = Scene::new();
    assert_eq!(scene.run(&["merge-compare", "--repeats", "1", "--only", "hf"]), 0);
    let results = scene.results();
    let curves: Vec<&str> = results
        .values()
        .filter(|cell| !cell.curve("train_loss").is_empty())
        .map(|cell| &*cell.variant)
        .collect();
    assert_eq!(curves, ["adapter"]);
    // What programs print is kept beside what they report.
    let log = fs::read_to_string(scene.path("out/logs/adapter.log")).unwrap();
    assert!(log.starts_with("$ finetune "), "{log}");
}

fn metric(result: &Cell, name: &str) -> f64 {
    result.metric(name).unwrap()
}

#[test]
fn a_failed_cell_does_not_stop_the_rest() {
    let scene = Scene::new();
    // Quality and two rounds of speed of the variant whose merge fails.
    assert_eq!(scene.run(&["merge-compare", "--repeats", "2"]), 3);
    let results = scene.results();
    assert_eq!(results.len(), 18);
    for (cell, result) in &results {
        assert_eq!(result.ok, result.variant != "nf4-merge", "{cell}");
        assert_eq!(result.error.is_none(), result.ok, "{cell}");
    }
    let error = results["nf4-merge/speed-2"].error.as_ref().unwrap();
    assert!(error.contains("`merge` failed") && error.ends_with("nf4 is not in this build"), "{error}");
    let merges = fs::read_to_string(scene.path("bin/calls")).unwrap();
    assert_eq!(merges.lines().filter(|line| line.contains("base_precision")).count(), 1, "tried once");
    let hf = &results["hf/quality"];
    assert_eq!((metric(hf, "changed_fraction"), metric(hf, "exact_match")), (0.75, 0.5));
    assert_eq!(metric(&results["legacy-script/quality"], "changed_fraction"), 0.0);
    let speed = &results["base/speed-1"];
    assert_eq!((metric(speed, "first_token_s"), metric(speed, "decode_tokens_per_s")), (0.2, 50.0));
    assert!(speed.metric("peak_device_mib").is_none());
}

#[test]
fn a_resumed_experiment_has_the_same_results_to_the_byte() {
    let scene = Scene::new();
    let args = ["lora-vs-qlora", "--sizes", "8,16", "--seeds", "1,2"];
    // Killed half way: one variant's programs fail, which leaves its cells unfinished.
    let whole = FINETUNE.replace("mkdir -p", "grep -q int8 \"$file\" && exit 1\nmkdir -p");
    scene.program("finetune", &whole);
    assert_eq!(scene.run(&args), 4);
    let half = scene.results();
    assert_eq!(scene.run(&args), 4, "failed cells are tried again");

    // The same programs, well again: `grep` finds nothing any more.
    let marker = scene.path("datasets/well");
    let switch = FINETUNE.replace(
        "mkdir -p",
        &format!("[ -e {} ] || {{ grep -q int8 \"$file\" && exit 1; }}\nmkdir -p", marker.display()),
    );
    scene.program("finetune", &switch);
    assert_eq!(scene.run(&args), 4);
    let half_text = fs::read_to_string(scene.path("out/results.jsonl")).unwrap();
    fs::write(&marker, "").unwrap();
    let before = scene.calls();
    assert_eq!(scene.run(&args), 0);
    assert_eq!(scene.calls() - before, 8, "four cells of two programs each");
    let text = fs::read_to_string(scene.path("out/results.jsonl")).unwrap();
    for line in half_text.lines().filter(|line| line.contains("\"ok\":true")) {
        assert!(text.lines().any(|other| other == line), "a finished line has changed");
    }
    assert_eq!(half.len(), 16);

    // Once more: nothing runs, and every file is as it was.
    let (before, csv) = (scene.calls(), fs::read(scene.path("out/results.csv")).unwrap());
    assert_eq!(scene.run(&args), 0);
    assert_eq!(scene.calls(), before);
    assert_eq!(fs::read_to_string(scene.path("out/results.jsonl")).unwrap(), text);
    assert_eq!(fs::read(scene.path("out/results.csv")).unwrap(), csv);
}

#[test]
fn a_changed_program_or_setting_reruns_its_cells_only() {
    let scene = Scene::new();
    let args = ["lora-vs-qlora", "--sizes", "8", "--seeds", "1"];
    scene.run(&args);
    let first = scene.results();
    // Another size beside it: what was finished stays.
    let before = scene.calls();
    scene.run(&["lora-vs-qlora", "--sizes", "8,16", "--seeds", "1"]);
    assert_eq!(scene.calls() - before, 8);
    assert_eq!(scene.results()["nf4/8-records/seed-1/0"], first["nf4/8-records/seed-1/0"]);
    // Another `evaluate`: every cell used it.
    scene.program("evaluate", &format!("{EVALUATE}\n# new"));
    let before = scene.calls();
    scene.run(&args);
    assert_eq!(scene.calls() - before, 8);
    assert_ne!(scene.results()["nf4/8-records/seed-1/0"].key, first["nf4/8-records/seed-1/0"].key);
}

#[test]
fn a_planted_wrong_scale_shows_in_the_results() {
    let scene = Scene::new();
    scene.run(&["merge-compare", "--repeats", "1", "--planted"]);
    let results = scene.results();
    for (variant, agreement) in
        [("hf", 1.0), ("state-dict", 1.0), ("planted-scale", 0.25), ("planted-sign", 0.25)]
    {
        let result = &results[&format!("{variant}/quality")];
        assert_eq!(metric(result, "token_agreement"), agreement, "{variant}");
        assert_eq!(metric(result, "max_logit_diff") > 1.0, variant.starts_with("planted"), "{variant}");
    }
}

#[test]
fn slices_are_nested_and_trained_on_in_the_same_order() {
    let scene = Scene::new();
    scene.run(&["lora-vs-qlora", "--sizes", "8,16", "--seeds", "1", "--only", "nf4"]);
    let slice = |count: usize| {
        let text = fs::read_to_string(scene.path(&format!("out/data/train-{count}.json"))).unwrap();
        serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap()
    };
    let (small, large) = (slice(8), slice(16));
    assert_eq!((small.len(), large.len()), (8, 16));
    assert_eq!(small, large[..8]);
    let file = fs::read_to_string(scene.path("out/work/nf4_16-records_seed-1_0/finetune.toml")).unwrap();
    assert!(file.contains("train-16.json") && file.contains("quantize = \"nf4\""), "{file}");
    assert!(file.contains("seed = 1\n"), "{file}");
    let result = &scene.results()["lora/16-records/seed-1/0"];
    assert_eq!(result.series["val_loss"], [(2.0, Some(1.5))]);
    assert_eq!((metric(result, "phase_quantise_s"), metric(result, "val_loss_final")), (0.5, 1.5));
    let adapter = scene.path("out/work/lora_16-records_seed-1_0/adapter");
    assert!(!adapter.join("checkpoint-9").exists() && !adapter.join("runs").exists());
}

#[test]
fn a_dry_run_touches_nothing() {
    let scene = Scene::new();
    let list = |dir: &Path| super::digest::of_path(dir).unwrap();
    let before = list(scene.dir.path());
    for name in ["merge-compare", "lora-vs-qlora"] {
        estimate::print(&scene.setting(&[name])).unwrap();
    }
    assert_eq!(list(scene.dir.path()), before);
    assert!(!scene.path("out").exists() && scene.calls() == 0);
}

#[test]
fn impossible_settings_are_refused_before_anything_runs() {
    let scene = Scene::new();
    let refused = |args: &[&str]| {
        let args = Line::parse_from([&["experiment", "lora-vs-qlora"], args].concat()).args;
        let text = include_str!("../../experiments/lora-vs-qlora.toml");
        let file = (RunFile::parse(text).unwrap(), text.to_owned());
        let setting = Setting::resolve(&args, file, scene.dir.path(), scene.path("out"), BTreeMap::new());
        format!("{:#}", setting.unwrap_err())
    };
    assert!(refused(&["--sizes", "4000"]).contains("has 1408 to train on"));
    assert!(refused(&["--profile", "7b"]).contains("give --base_model"));
    assert!(refused(&["--only", "fp4"]).contains("no variant `fp4`"));
    assert!(refused(&["--profile", "13b"]).contains("expected 7b, default, smollm2"));
}
