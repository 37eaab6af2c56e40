//! Wrong input is rejected in one line with the right exit code, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;

use common::{Done, Scene, adapter, metrics, names, run};

/// A wrong flag or run file.
const WRONG_USE: i32 = 2;
/// Right flags, but what they name cannot be used.
const FAILED: i32 = 1;

/// Runs `finetune` with `args` into a new directory, which must not exist afterwards.
fn refused(scene: &Scene, args: &[&str], code: i32, parts: &[&str]) -> Done {
    let before = names(&scene.path("."));
    let done = run(&mut scene.finetune("out", args)).refused(code, parts);
    assert_eq!(names(&scene.path(".")), before, "something was left behind: {args:?}");
    assert_eq!(done.stdout, "");
    done
}

/// Changes a field of a JSON file.
fn edit(path: &Path, field: &str, value: impl Into<serde_json::Value>) {
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    json[field] = value.into();
    fs::write(path, json.to_string()).unwrap();
}

#[test]
fn a_missing_path_is_named() {
    let scene = Scene::new();
    refused(&scene, &["--base_model", "nowhere"], WRONG_USE, &["base_model `nowhere` is not a directory"]);
    refused(&scene, &["--data_path", "nothing.json"], WRONG_USE, &["data_path `nothing.json` is not a file"]);
    refused(&scene, &["--val_data_path", "nothing.json"], WRONG_USE, &["val_data_path `nothing.json`"]);
    refused(&scene, &["--config", "no.toml"], WRONG_USE, &["cannot read config `no.toml`", "No such file"]);
    refused(&scene, &["--prompt_template_name", "none"], WRONG_USE, &["`none`", "alpaca_short"]);
    refused(&scene, &["--resume_from_checkpoint", "gone"], WRONG_USE, &["`gone` is neither a checkpoint"]);
    scene.write("out", "a file");
    run(&mut scene.finetune("out", &[])).refused(WRONG_USE, &["output_dir `out` is a file"]);
}

#[test]
fn a_setting_out_of_range_is_named_with_its_value() {
    let scene = Scene::new();
    for (args, part) in [
        (["--cutoff_len", "0"], "cutoff_len is 0; it has to be at least 2"),
        (["--batch_size", "5"], "batch_size 5 is not divisible by micro_batch_size 2"),
        (["--micro_batch_size", "0"], "micro_batch_size is 0"),
        (["--val_set_size", "24"], "val_set_size is 24, but there are 24 records"),
        (["--val_set_size", "2000"], "val_set_size is 2000, but there are 24 records"),
        (["--dtype", "int7"], "dtype is `int7`; expected auto, float32, bfloat16 or float16"),
        (["--device", "tpu"], "device is `tpu`; expected auto, cpu, cuda or cuda:N"),
        (["--threads", "0"], "threads is 0"),
        (["--lora_r", "0"], "lora_r is 0"),
        (["--threads", "4294967296"], "--threads is 4294967296; it has to be at least 1 and at most 4096"),
        (["--seed", "-1"], "--seed is -1; it has to be at least 0"),
        (["--lora_dropout", "1"], "`lora_dropout` is 1"),
        (["--learning_rate", "nan"], "`learning_rate` is NaN"),
        (["--adam_beta2", "1"], "`adam_beta2` is 1; expected at least 0 and below 1"),
    ] {
        refused(&scene, &args, WRONG_USE, &[part]);
    }
    refused(&scene, &["--full", "--dtype", "bfloat16"], WRONG_USE, &["--full trains in float32"]);
}

#[test]
fn flags_that_cannot_be_parsed_end_with_exit_code_2() {
    let scene = Scene::new();
    for args in [["--lora_r", "eight"], ["--num_epochs", "0"], ["--lr_scheduler", "square"], ["--rank", "8"]]
    {
        let done = run(&mut scene.finetune("out", &args));
        assert_eq!(done.code, Some(WRONG_USE), "{}", done.stderr);
        assert!(done.stderr.starts_with("error: ") && done.stderr.contains(args[0]), "{}", done.stderr);
    }
    run(&mut scene.bare(&["--seed", "1"])).refused(WRONG_USE, &["--base_model is missing"]);
}

#[test]
fn a_wrong_run_file_is_refused_by_line_or_field() {
    let scene = Scene::new();
    for (text, part) in [
        (
            "seed = 1\nlora_rank = 8\n",
            "config `run.toml`, line 2: unknown field `lora_rank`; did you mean `lora_r`?",
        ),
        ("lerning_rate = 1\n", "did you mean `learning_rate`?"),
        ("wings = 2\n", "unknown field `wings`"),
        (
            "\nlora_r = \"eight\"\n",
            "config `run.toml`, line 2: invalid type: string \"eight\", expected i64 in `lora_r`",
        ),
        ("max_steps = 0\n", "in `max_steps`"),
        ("seed = 1\nlora_r =\n", "config `run.toml`, line 2: "),
    ] {
        scene.write("run.toml", text);
        refused(&scene, &["--config", "run.toml"], WRONG_USE, &[part]);
    }
}

#[test]
fn weights_that_cannot_be_read_are_refused_with_the_reason() {
    let scene = Scene::new();
    let weights = scene.path("model/model.safetensors");
    let whole = fs::read(&weights).unwrap();
    fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    refused(
        &scene,
        &[],
        FAILED,
        &["model.safetensors` is truncated", &format!("the file has {}", whole.len() / 2)],
    );
    fs::write(&weights, &whole).unwrap();

    edit(&scene.path("model/config.json"), "intermediate_size", 128);
    let parts = ["`model.layers.0.mlp.gate_proj.weight` has shape [64, 32]", "asks for [128, 32]"];
    refused(&scene, &[], FAILED, &parts);
    refused(&scene, &["--full"], FAILED, &parts);
    edit(&scene.path("model/config.json"), "model_type", "gpt2");
    refused(&scene, &[], FAILED, &["`model_type` is gpt2", "only llama, qwen2, qwen3 are supported"]);
    fs::write(scene.path("model/config.json"), "{").unwrap();
    refused(&scene, &[], FAILED, &["config.json` is not a LLaMA config.json"]);
    fs::remove_file(scene.path("model/config.json")).unwrap();
    refused(&scene, &[], FAILED, &["cannot read `", "config.json`"]);
}

#[test]
fn an_unknown_setting_of_a_base_is_refused_unless_it_is_to_be_ignored() {
    let scene = Scene::new();
    edit(&scene.path("model/config.json"), "use_magic", true);
    refused(&scene, &["--plan"], FAILED, &["`use_magic` (true)", "--ignore_unknown_settings"]);
    let done = run(&mut scene.finetune("out", &["--plan", "--ignore_unknown_settings"])).ok();
    assert!(done.stderr.contains("`use_magic` is true: an unknown setting, ignored"), "{}", done.stderr);
}

#[test]
fn a_pickle_that_would_run_code_is_rejected_by_the_name_it_imports() {
    let scene = Scene::new();
    fs::remove_file(scene.path("model/model.safetensors")).unwrap();
    refused(&scene, &[], FAILED, &["no weights in `model`"]);
    // GLOBAL os.system, the string "touch owned", TUPLE1, REDUCE, STOP.
    let pickle = b"\x80\x02cos\nsystem\nX\x0b\x00\x00\x00touch owned\x85R.";
    fs::write(scene.path("model/pytorch_model.bin"), pickle).unwrap();
    refused(&scene, &[], FAILED, &["pytorch_model.bin", "`os.system`", "refused"]);
    assert!(!scene.path("owned").exists());
}

#[test]
fn a_base_without_tokenizer_is_refused() {
    let scene = Scene::new();
    fs::remove_file(scene.path("model/tokenizer.json")).unwrap();
    refused(&scene, &[], FAILED, &["tokenizer.json"]);
}

#[test]
fn a_dataset_without_records_is_refused() {
    let scene = Scene::new();
    for (text, part) in [
        ("[]", "holds no usable record"),
        ("", "holds no usable record"),
        ("[{\"instruction\": \"a\", \"output\": \"b\"}", "is not a JSON array of records"),
        ("Instructions\n", "starts with `I`"),
        ("instruction,output\n", "is CSV, not JSON"),
        ("<!DOCTYPE html><html>", "is an HTML page, not JSON"),
        ("PAR1", "is a Parquet file, not JSON"),
        ("PK\u{3}\u{4}", "is a zip archive, not JSON"),
        ("{\n\"data\": [{\"instruction\": \"a\"}]\n}", "is one JSON object, whose `data` holds 1 objects"),
        ("\"records\"", "is JSON, but a string alone"),
    ] {
        scene.write("data.json", text);
        refused(&scene, &["--val_set_size", "0"], WRONG_USE, &["`data.json`", part]);
    }
    scene.write("data.json", b"\x1f\x8b\x08");
    refused(&scene, &["--val_set_size", "0"], WRONG_USE, &["is gzip-compressed, not JSON"]);
    scene.write("data.json", b"[\xff]");
    refused(&scene, &["--val_set_size", "0"], WRONG_USE, &["not UTF-8", "byte at 1"]);
}

#[test]
fn a_bad_record_is_refused_by_index_line_and_reason_or_counted() {
    let scene = Scene::new();
    let mut records = common::records(common::RECORDS);
    records[3].as_object_mut().unwrap().remove("output");
    records[7]["instruction"] = 7.into();
    scene.write("data.json", serde_json::to_string_pretty(&records).unwrap());
    // One bracket, then five lines for each whole record.
    refused(&scene, &[], WRONG_USE, &["record 3 (line 17) has no `output`", "--skip_bad_records"]);
    let done = run(&mut scene.finetune("out", &["--skip_bad_records", "--max_steps", "4"])).ok();
    let warnings: Vec<&str> = done.stderr.lines().filter(|line| line.contains("bad records")).collect();
    assert_eq!(warnings.len(), 1, "{}", done.stderr);
    assert!(warnings[0].contains("2 bad records of `data.json` were left out"), "{}", warnings[0]);
    assert!(done.stderr.contains("training records: 18 examples"), "{}", done.stderr);
}

#[test]
fn a_filled_column_that_is_not_trained_is_refused_or_ignored_by_name() {
    let scene = Scene::new();
    let mut records = common::records(common::RECORDS);
    records[2]["system"] = "You are a pirate.".into();
    records[2]["history"] = serde_json::json!([["Hi", "Ahoy"]]);
    scene.write("data.json", records.to_string());
    let parts = ["record 2 (line 1) fills the column `system`", "--ignore_columns"];
    refused(&scene, &[], WRONG_USE, &parts);
    refused(&scene, &["--skip_bad_records"], WRONG_USE, &parts);
    refused(&scene, &["--ignore_columns", "system"], WRONG_USE, &["the column `history`"]);
    for (out, flag) in [("all", "--ignore_columns"), ("named", "--ignore_columns=system,history")] {
        let done = run(&mut scene.finetune(out, &[flag, "--max_steps", "2"])).ok();
        assert!(done.stderr.contains("the column `system`, which 1 records of `data.json` fill, is ignored"));
        assert!(done.stderr.contains("training records: 20 examples"), "{}", done.stderr);
    }
}

#[test]
fn a_folder_of_the_hubs_cache_is_a_base() {
    let scene = Scene::new();
    let snapshot = scene.path("hub/models--org--tiny/snapshots/0123");
    fs::create_dir_all(snapshot.parent().unwrap()).unwrap();
    fs::rename(scene.path("model"), &snapshot).unwrap();
    for base in
        ["hub/models--org--tiny", "hub/models--org--tiny/snapshots", "hub/models--org--tiny/snapshots/0123"]
    {
        run(&mut scene.finetune("out", &["--plan", "--base_model", base])).ok();
    }
    refused(&scene, &["--base_model", "hub"], WRONG_USE, &["is a cache of the hub", "`models--org--tiny`"]);
    fs::create_dir(snapshot.with_file_name("4567")).unwrap();
    let parts = ["holds 2 snapshots", "`0123`, `4567`"];
    refused(&scene, &["--base_model", "hub/models--org--tiny"], WRONG_USE, &parts);
}

#[test]
fn an_unknown_target_module_is_answered_with_what_the_model_has() {
    let scene = Scene::new();
    let has = "q_proj";
    refused(
        &scene,
        &["--lora_target_modules", "[q_proj,c_attn]"],
        WRONG_USE,
        &["`c_attn`", has, "down_proj"],
    );
    refused(&scene, &["--lora_target_modules", ".*c_attn"], WRONG_USE, &["c_attn", has, "down_proj"]);
    refused(
        &scene,
        &["--lora_target_modules", "q_proj("],
        WRONG_USE,
        &["`q_proj(`", "not a regular expression"],
    );
    refused(
        &scene,
        &["--plan", "--lora_target_modules", "c_attn"],
        WRONG_USE,
        &["`c_attn`", has, "down_proj"],
    );
}

#[test]
fn cuda_that_is_not_there_is_refused_with_the_reason() {
    let scene = Scene::new();
    let code = if torch_ext::cuda::load().is_ok() { WRONG_USE } else { FAILED };
    refused(&scene, &["--device", "cuda:99"], code, &["CUDA"]);
}

#[test]
fn another_run_in_the_output_directory_is_left_alone() {
    let scene = Scene::new();
    run(&mut scene.finetune("out", &["--max_steps", "4"])).ok();
    let out = scene.path("out");
    let state =
        || (names(&out), adapter(&out), metrics(&out), fs::read_to_string(out.join("run.toml")).unwrap());
    let before = state();
    let ways_out =
        ["output_dir `out` holds another run", "--resume_from_checkpoint latest", "--overwrite_output_dir"];
    run(&mut scene.finetune("out", &["--seed", "1"])).refused(WRONG_USE, &ways_out);
    assert_eq!(state(), before);

    // Going on with other settings is no going on.
    let resume = ["--max_steps", "4", "--resume_from_checkpoint", "latest"];
    for (change, part) in [
        (["--learning_rate", "0.5"], "`learning_rate` is 0.5 in this run, but 0.01 in the checkpoint"),
        (["--lora_alpha", "3"], "`lora_alpha` is 3.0 in this run, but 16.0 in the checkpoint"),
        (["--lora_dropout", "0"], "`lora_dropout` is 0.0 in this run"),
        (["--dtype", "float16"], "`dtype` is \"float16\" in this run"),
    ] {
        let args = [&resume[..], &change].concat();
        run(&mut scene.finetune("out", &args))
            .refused(WRONG_USE, &["cannot resume from `out/checkpoint-4`", part]);
        assert_eq!(state(), before, "{change:?}");
    }

    // Nothing is deleted before the new run is known to begin.
    let broken = ["--overwrite_output_dir", "--lora_target_modules", "c_attn"];
    run(&mut scene.finetune("out", &broken)).refused(WRONG_USE, &["c_attn"]);
    assert_eq!(state(), before);
    run(&mut scene.finetune("out", &["--overwrite_output_dir", "--max_steps", "3", "--seed", "1"])).ok();
    assert!(
        names(&out).contains(&"checkpoint-3".to_owned()) && !names(&out).contains(&"checkpoint-4".to_owned())
    );
    assert_eq!(metrics(&out).last().unwrap()["step"], 3);
}

#[test]
fn the_base_model_directory_is_never_the_output_directory() {
    let scene = Scene::new();
    for args in [&["--full"][..], &["--full", "--overwrite_output_dir"]] {
        let done = run(&mut scene.finetune("model", args));
        done.refused(WRONG_USE, &["output_dir `model` is the directory of base_model"]);
    }
    assert_eq!(names(&scene.path("model")), ["config.json", "model.safetensors", "tokenizer.json"]);
}

#[test]
fn a_nan_loss_ends_the_run_with_a_diagnosis() {
    let scene = Scene::new();
    let args = [
        "--learning_rate",
        "1e38",
        "--max_grad_norm",
        "0",
        "--lr_scheduler",
        "constant",
        "--val_set_size",
        "0",
    ];
    let done = run(&mut scene.finetune("out", &args)).refused(FAILED, &["stopped before step ", "records "]);
    let kept: Vec<String> =
        names(&scene.path("out")).into_iter().filter(|name| name.contains("checkpoint-")).collect();
    assert!(kept.iter().all(|name| !name.starts_with('.')), "{kept:?} {}", done.stderr);
}

#[test]
fn a_full_disk_ends_the_run_and_the_last_checkpoint_is_whole() {
    let scene = Scene::new();
    run(&mut scene.finetune("whole", &["--save_total_limit", "100"])).ok();
    fs::create_dir(scene.path("small")).unwrap();
    // A small disk of its own, seen by this command alone; what is on it is copied off it.
    let script = "mount -t tmpfs -o size=300k tmpfs small || exit 77\n\"$@\"\ncode=$?\ncp -r small/out copy\nexit $code";
    let finetune = scene.finetune("small/out", &["--save_total_limit", "100"]);
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "sh", "-c", script, "sh"]).arg(finetune.get_program()).args(finetune.get_args());
    command.current_dir(scene.path(".")).env("OMP_NUM_THREADS", "1");
    let mounted = command.output().map(|output| (output.status.code(), output));
    let output = match mounted {
        Ok((Some(FAILED), output)) if !String::from_utf8_lossy(&output.stderr).contains("unshare: ") => {
            output
        }
        Ok((Some(0), _)) => panic!("the disk was not full: the test needs a smaller one"),
        other => {
            eprintln!("skipped: a_full_disk needs the right to mount a tmpfs ({other:?})");
            return;
        }
    };
    let stderr = String::from_utf8(output.stderr).unwrap();
    let done =
        Done { program: "finetune".to_owned(), code: output.status.code(), stdout: String::new(), stderr };
    done.refused(FAILED, &["the disk is full: cannot write `", "No space left on device"]);

    let copy = scene.path("copy");
    let left = names(&copy);
    assert!(left.iter().any(|name| name.starts_with("checkpoint-")), "{left:?}");
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
    run(&mut scene.finetune("copy", &["--save_total_limit", "100", "--resume_from_checkpoint", "latest"]))
        .ok();
    assert_eq!(adapter(&copy), adapter(&scene.path("whole")));
    assert_eq!(metrics(&copy), metrics(&scene.path("whole")));
}

#[test]
fn alpaca_loras_default_data_path_is_a_data_set_of_the_hub() {
    let scene = Scene::new();
    let mut command = scene.bare(&["--base_model", "model", "--device", "cpu"]);
    let done =
        run(command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", scene.path("hf")).env_remove("HF_HUB_CACHE"));
    let parts =
        ["`yahma/alpaca-cleaned` is no local file", "`hf download --repo-type dataset yahma/alpaca-cleaned`"];
    done.refused(WRONG_USE, &parts);
}
