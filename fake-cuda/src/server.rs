//! The server on the make-believe device.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xtask::serving::{Server, complete};

use crate::report::Report;
use crate::scene::{Machine, Scene};

const PROMPT: &str = "Hugo is at";
const PATIENCE: Duration = Duration::from_secs(120);

/// Compares the answers of servers on both devices, of several requests at a time.
pub(crate) fn run_all(scene: &Scene, report: &mut Report) {
    report.add("the server answers as on the CPU", || {
        let expected = answers(scene, Machine::Cpu, "cpu")?;
        let actual = answers(scene, Machine::Gpus(1), "cuda")?;
        ensure!(actual == expected, "{actual:?} and {expected:?}");
        Ok(())
    });
}

fn answers(scene: &Scene, machine: Machine, device: &str) -> Result<Vec<String>> {
    let args = format!(
        "--base_model {{base}} --lora_weights adapter --server_port 0 --threads 1 --dtype float32 --device {device}"
    );
    let mut command = scene.program("generate", &args, machine);
    let server = Server::start(&mut command, |_| {}).with_context(|| format!("on {device}"))?;
    let address = server.address;
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..3).map(|number| scope.spawn(move || complete(address, number, PROMPT, PATIENCE))).collect();
        clients.into_iter().map(|client| client.join().expect("a client panicked")).collect()
    })
}
