//! Three processes that sum their numbers.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

// ANCHOR: readme
use std::env;
use std::error::Error;
use std::process::Command;

use process_group::{Launch, ProcessGroup, run_processes};
use tch::{Device, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let Some(launch) = Launch::from_env()? else {
        // Nobody has started several: this program again, three times. `torchrun` and `mpirun` do as well.
        let program = env::current_exe()?;
        let ended = run_processes(3, &|_| Command::new(&program), &|| false)?;
        return if ended.code == 0 { Ok(()) } else { Err("a process has failed".into()) };
    };
    let group = ProcessGroup::join(Some(launch), Device::Cpu)?;
    let mut sum = Tensor::from_slice(&[group.rank() as f32, 1.0]);
    group.all_reduce(&mut sum)?;
    if group.is_first() {
        println!("sum over {} processes: {:?}", group.world_size(), Vec::<f32>::try_from(&sum)?);
    }
    group.leave()?;
    Ok(())
}
// ANCHOR_END: readme
