//! `llama-ft`: every program by a subcommand and by the name of a link.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::os::unix::fs::symlink;
use std::process::Command;

use common::{Scene, adapter, run};

const LLAMA_FT: &str = env!("CARGO_BIN_EXE_llama-ft");

#[test]
fn a_run_in_two_processes_is_the_same_by_every_name() {
    let scene = Scene::new();
    let flags = ["--micro_batch_size", "1", "--max_steps", "2", "--processes", "2"];
    let own = scene.finetune("own", &flags);
    let args: Vec<_> = own.get_args().map(ToOwned::to_owned).collect();
    let called = |program: &str, before: &[&str], out: &str| {
        let mut command = Command::new(program);
        let args = args.iter().map(|arg| if arg == "own" { out.into() } else { arg.clone() });
        command
            .args(before)
            .args(args)
            .current_dir(scene.path(""))
            .env("OMP_NUM_THREADS", "1")
            .env_remove("RUST_LOG");
        run(&mut command).ok();
        adapter(&scene.path(out))
    };
    symlink(LLAMA_FT, scene.path("finetune")).unwrap();
    let expected = called(env!("CARGO_BIN_EXE_finetune"), &[], "own");
    assert_eq!(called(LLAMA_FT, &["finetune"], "subcommand"), expected);
    assert_eq!(called(scene.path("finetune").to_str().unwrap(), &[], "link"), expected);
}

#[test]
fn help_names_the_program_as_it_was_called() {
    let said = |args: &[&str]| run(Command::new(LLAMA_FT).args(args)).ok().stdout;
    let all = said(&["--help"]);
    for program in &cli::programs::PROGRAMS {
        assert!(all.contains(program.name), "{all}");
        let help = said(&[program.name, "-h"]);
        let usage = format!("Usage: llama-ft {} ", program.name);
        let example = format!("\n  llama-ft {} ", program.name);
        assert!(help.contains(&usage) && help.contains(&example), "{help}");
    }
}

#[test]
fn a_subcommand_that_does_not_exist_is_refused_with_the_nearest() {
    let done = run(Command::new(LLAMA_FT).args(["fintune", "--plan"]));
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("fintune") && done.stderr.contains("'finetune'"), "{}", done.stderr);
    assert_eq!(run(&mut Command::new(LLAMA_FT)).code, Some(2));
}

#[test]
fn version_names_commit_libtorch_cuda_and_processor() {
    for (program, args) in [(LLAMA_FT, &["--version"][..]), (LLAMA_FT, &["merge", "-V"])] {
        let said = run(Command::new(program).args(args)).ok().stdout;
        for line in ["commit ", "libtorch 2.11.0 in /", "CUDA ", "CPU "] {
            assert!(said.lines().any(|found| found.starts_with(line)), "{line}: {said}");
        }
    }
}
