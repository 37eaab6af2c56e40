//! A merge that is cut short.

use std::path::Path;
use std::process::{Command, Stdio};

use llama_model::LlamaConfig;
use tch::Kind;
use weights::TensorStore;

use crate::common::{Scene, model_config, names, run, until};
use crate::scene::{ALL, R, merge, scene, write_adapter};

/// Large enough to be killed in the middle: 27 MB.
fn large_scene() -> Scene {
    let shape = LlamaConfig { num_attention_heads: 8, ..LlamaConfig::new(104, 256, 704, 8, 8) };
    let config = LlamaConfig { max_position_embeddings: model_config().max_position_embeddings, ..shape };
    let scene = scene(&config, Kind::Float);
    write_adapter(&scene.path("adapter"), &config, &ALL, R, 0);
    scene
}

const ARGS: [&str; 6] = ["--base_model", "model", "--lora_weights", "adapter", "--output_dir", "out"];

/// Returns the bytes that a merge has begun to write, or none.
fn begun(scene: &Scene) -> Option<u64> {
    let half = names(&scene.path(".")).into_iter().find(|name| name.starts_with(".out.tmp-"))?;
    let files = std::fs::read_dir(scene.path(&half)).into_iter().flatten().filter_map(Result::ok);
    Some(files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum())
}

#[test]
fn a_killed_merge_leaves_nothing_under_the_final_name_and_the_next_one_clears_up() {
    let scene = large_scene();
    let before = names(&scene.path("."));
    run(&mut merge(&scene, &ARGS)).ok();
    let expected = std::fs::read(scene.path("out/model.safetensors")).unwrap();
    std::fs::remove_dir_all(scene.path("out")).unwrap();
    let mut cut = 0;
    for part in 0..6 {
        for format in ["hf", "state-dict", "gguf"] {
            let mut child = merge(&scene, &ARGS).args(["--format", format]).spawn().unwrap();
            let enough = expected.len() as u64 * part / 6;
            until(&mut child, || begun(&scene).is_some_and(|bytes| bytes >= enough));
            child.kill().unwrap();
            let finished = child.wait().unwrap().success();
            // A rename is one moment: all of it is there, or none.
            if names(&scene.path(".")).contains(&"out".to_owned()) {
                assert!(names(&scene.path("out")).contains(&"merge_report.json".to_owned()));
                std::fs::remove_dir_all(scene.path("out")).unwrap();
            } else {
                assert!(!finished);
                cut += usize::from(begun(&scene).is_some());
            }
        }
    }
    assert!(cut > 3, "only {cut} of 18 merges were cut in the middle");
    let done = run(&mut merge(&scene, &ARGS)).ok();
    let mut after = before;
    after.push("out".to_owned());
    after.sort();
    assert_eq!(names(&scene.path(".")), after, "{}", done.stderr);
    assert!(std::fs::read(scene.path("out/model.safetensors")).unwrap() == expected);
    TensorStore::open(&scene.path("out")).unwrap();
}

/// `merge` in a shell that runs `before` first.
fn after(scene: &Scene, before: &str, output_dir: &str, format: &str) -> Command {
    let merge = merge(scene, &ARGS);
    let mut shell = Command::new("bash");
    let words = merge.get_args().map(|word| word.to_str().unwrap());
    let words = words.map(|word| if word == "out" { output_dir } else { word }).collect::<Vec<_>>().join(" ");
    let program = Path::new(merge.get_program()).display();
    shell.args(["-c", &format!("{before} && exec '{program}' {words} --format {format}")]);
    shell.current_dir(scene.path(".")).env("OMP_NUM_THREADS", "1");
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

#[test]
fn a_file_size_limit_fails_the_merge_and_leaves_nothing() {
    let scene = large_scene();
    let before = names(&scene.path("."));
    for format in ["hf", "state-dict", "gguf"] {
        // 4 MB, and an error instead of the signal.
        let done = run(&mut after(&scene, "trap '' XFSZ && ulimit -f 4096", "out", format));
        done.refused(1, &["cannot write `", "too large"]);
        assert_eq!(names(&scene.path(".")), before);
    }
}

#[test]
fn a_full_disk_fails_the_merge_with_the_file_and_leaves_nothing() {
    let scene = large_scene();
    std::fs::create_dir(scene.path("small")).unwrap();
    let mount = "mount -t tmpfs -o size=8m none small";
    let probe =
        Command::new("unshare").args(["-Urm", "sh", "-c", mount]).current_dir(scene.path(".")).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!(
            "skipped: a_full_disk_fails_the_merge_with_the_file_and_leaves_nothing needs `unshare -Urm`"
        );
        return;
    }
    for format in ["hf", "state-dict", "gguf"] {
        // Inside, so that what is left can be seen before the disk goes.
        let mut inner = after(&scene, mount, "small/out", format);
        let words: Vec<_> = inner.get_args().map(std::ffi::OsStr::to_owned).collect();
        let text = words[1].to_str().unwrap().replace("exec ", "");
        inner = Command::new("unshare");
        inner.args(["-Urm", "bash", "-c", &format!("{text}; code=$?; ls -A small; exit $code")]);
        inner.current_dir(scene.path(".")).env("OMP_NUM_THREADS", "1");
        let done = run(&mut inner).refused(1, &["the disk is full: cannot write `", "needs at least"]);
        assert_eq!(done.stdout, "", "something is left");
    }
}
