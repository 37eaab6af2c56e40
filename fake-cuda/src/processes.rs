//! Several processes, each on a make-believe device of its own, with a stand-in for NVIDIA's collectives.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::report::Report;
use crate::same;
use crate::scene::{Machine, Scene};

/// float32 in another order of sums.
const EXACT: f64 = 5e-6;
/// Two micro-batches for each of two processes in each of 4 steps, and an evaluation after two of them.
const FINETUNE: &str = "--base_model {base} --data_path {data} --batch_size 4 --micro_batch_size 1 --max_steps 4 --warmup_steps 1 \
                        --val_set_size 4 --cutoff_len 48 --eval_steps 2 --save_steps 2 --logging_steps 1 --learning_rate 1e-2 \
                        --lora_dropout 0 --dtype float32 --threads 1";
/// What the adapter of q and v trains: a pair of factors in each of 4 layers.
const PARAMETERS: usize = 16;
const ELEMENTS: usize = 32_768;

/// Compares runs on two devices with one on the CPU, and what they asked of NCCL with what they have to.
pub(crate) fn run_all(scene: &Scene, report: &mut Report) {
    report.add("two processes on two GPUs train as one on the CPU: --gpus 2", || {
        let expected = one(scene)?;
        let args = format!("{FINETUNE} --output_dir gpus --gpus 2");
        let mut command = scene.program("finetune", &args, Machine::Gpus(2));
        with_log(scene, &mut command, "gpus");
        scene.run(command)?.ok()?;
        hold(scene, "gpus", &expected)
    });
    report.add("two processes on two GPUs train as one on the CPU: torchrun's variables", || {
        let expected = one(scene)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let start = |rank: &str| {
            let args = format!("{FINETUNE} --output_dir torchrun --device cuda");
            let mut command = scene.program("finetune", &args, Machine::Gpus(2));
            with_log(scene, &mut command, "torchrun");
            command.envs([("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", "2")]);
            command.envs([("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", &port)]);
            command
        };
        let mut other = start("1").stdin(Stdio::null()).spawn()?;
        let first = scene.run(start("0"));
        let ended = other.wait()?;
        first?.ok()?;
        ensure!(ended.success(), "rank 1 ended with {ended}");
        hold(scene, "torchrun", &expected)
    });
    report.add("a process that is killed on its GPU ends the other, which aborts its collective", || {
        let args = format!("{FINETUNE} --output_dir killed --gpus 2");
        let mut command = scene.program("finetune", &args, Machine::Gpus(2));
        with_log(scene, &mut command, "killed").env("FAKE_NCCL_DIE", format!("1:{}", PARAMETERS + 4));
        let ended = scene.run(command)?;
        ensure!(ended.code == Some(128 + 9), "ended with {:?}: {}", ended.code, ended.stderr);
        ensure!(ended.stderr.contains("error: rank 1 on "), "{}", ended.stderr);
        let calls = log(scene, "killed", 0)?;
        ensure!(calls.last().is_some_and(|call| call == "abort"), "{calls:?}");
        Ok(())
    });
}

/// Runs one process on the CPU; returns its directory.
fn one(scene: &Scene) -> Result<std::path::PathBuf> {
    let args = format!("{FINETUNE} --output_dir alone --device cpu --overwrite_output_dir");
    scene.run(scene.program("finetune", &args, Machine::Cpu))?.ok()?;
    Ok(scene.path("alone"))
}

fn with_log<'a>(scene: &Scene, command: &'a mut Command, name: &str) -> &'a mut Command {
    command.env("FAKE_NCCL_LOG", scene.path(&format!("{name}-calls")))
}

/// Reads what process `rank` asked of NCCL.
fn log(scene: &Scene, name: &str, rank: usize) -> Result<Vec<String>> {
    let text = fs::read_to_string(scene.path(&format!("{name}-calls.{rank}"))).context("no calls of NCCL")?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Checks the results of a run of two processes, and the order of its calls.
fn hold(scene: &Scene, name: &str, expected: &Path) -> Result<()> {
    let out = scene.path(name);
    same::lines(&out.join("metrics.jsonl"), &expected.join("metrics.jsonl"), EXACT)?;
    let adapter = "adapter_model.safetensors";
    same::tensors(&out.join(adapter), &expected.join(adapter), 1e-3)?;
    let (first, second) = (log(scene, name, 0)?, log(scene, name, 1)?);
    ensure!(first == second, "other calls: {first:?} and {second:?}");
    ensure!(first == expected_calls(), "{first:?}");
    Ok(())
}

/// The parameters once; in each step the losses with the wish to stop, and then the gradient in one piece; in an evaluation its losses.
fn expected_calls() -> Vec<String> {
    let sum = |count: usize, kind: &str| format!("all_reduce {count} {kind}");
    let mut calls = vec!["init of 2".to_owned()];
    calls.extend((0..PARAMETERS).map(|_| format!("broadcast {} float32", ELEMENTS / PARAMETERS)));
    for step in 1..=4 {
        calls.extend([sum(5, "float64"), sum(ELEMENTS, "float32")]);
        if step % 2 == 0 {
            calls.push(sum(5, "float64"));
        }
    }
    calls.push("destroy".to_owned());
    calls
}
