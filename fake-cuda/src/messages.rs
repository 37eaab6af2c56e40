//! What a program says of a GPU that it cannot use.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::report::Report;
use crate::scene::{Ended, Machine, Scene};

/// Tries machines without a GPU, without the device that was named, and without NVRTC.
pub(crate) fn run_all(scene: &Scene, report: &mut Report) {
    report.add("a device that is not there is refused by number", || {
        let ended = generate(scene, "cuda:2", Machine::Gpus(2))?;
        ensure!(ended.code == Some(2), "ended with {:?}: {}", ended.code, ended.stderr);
        ensure!(ended.stderr.contains("`cuda:2`"), "{}", ended.stderr);
        Ok(())
    });
    report.add("a driver that is too old is named, by `cuda` and by `auto`", || {
        let tell = |device, code| {
            let ended = with_nvidia_smi(scene, device, Machine::Gpus(0))?;
            ensure!(ended.code == Some(code), "{device} ended with {:?}: {}", ended.code, ended.stderr);
            let named = ended.stderr.contains(OLD_DRIVER) && ended.stderr.contains("580");
            ensure!(named, "{device}: {}", ended.stderr);
            Ok(())
        };
        tell("cuda", 2)?;
        tell("auto", 0)
    });
    report.add("`auto` says when it leaves a GPU alone", || {
        let ended = with_nvidia_smi(scene, "auto", Machine::Cpu)?.ok()?;
        ensure!(ended.stderr.contains("the CPU computes"), "{}", ended.stderr);
        Ok(())
    });
    report.add("a GPU without units for bfloat16 computes in float16", || {
        let args = "--base_model {base} --data_path {data} --output_dir old-gpu --batch_size 2 --micro_batch_size 2 \
                    --max_steps 1 --warmup_steps 0 --val_set_size 0 --cutoff_len 32 --threads 1 --device cuda";
        let mut command = scene.program("finetune", args, Machine::Kernels);
        command.env("FAKE_CUDA_CAPABILITY", "75");
        let ended = scene.run(command)?.ok()?;
        ensure!(ended.stderr.contains("in float16 on cuda:0"), "{}", ended.stderr);
        Ok(())
    });
}

/// A driver that CUDA 12 can use, and 13 cannot.
const OLD_DRIVER: &str = "535.104.05";

/// Runs `generate` where NVIDIA's tool shows a GPU with an old driver.
fn with_nvidia_smi(scene: &Scene, device: &str, machine: Machine) -> Result<Ended> {
    let dir = scene.path("tools");
    fs::create_dir_all(&dir)?;
    let tool = dir.join("nvidia-smi");
    fs::write(&tool, format!("#!/bin/sh\necho '0, GPU-5a1d, {OLD_DRIVER}, 11441'\n"))?;
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755))?;
    let mut command = generate_on(scene, device, machine);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env("PATH", std::env::join_paths([dir].into_iter().chain(std::env::split_paths(&path)))?);
    scene.run(command)
}

fn generate(scene: &Scene, device: &str, machine: Machine) -> Result<Ended> {
    scene.run(generate_on(scene, device, machine))
}

fn generate_on(scene: &Scene, device: &str, machine: Machine) -> Command {
    let args = format!(
        "--base_model {{base}} --prompt {{prompt}} --max_new_tokens 2 --temperature 0 --threads 1 --device {device}"
    );
    scene.program("generate", &args, machine)
}
