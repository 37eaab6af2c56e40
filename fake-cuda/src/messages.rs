//! What a program says of a GPU that it cannot use.

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
}

fn generate(scene: &Scene, device: &str, machine: Machine) -> Result<Ended> {
    let args = format!(
        "--base_model {{base}} --prompt {{prompt}} --max_new_tokens 2 --temperature 0 --threads 1 --device {device}"
    );
    scene.run(scene.program("generate", &args, machine))
}
