//! One run in several processes.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use llama_finetune::{DeviceChoice, GroupError, Launch, ProcessGroup, run_processes, set_threads};
use tch::Device;
use terminal::speak_as;
use trainer::StopFlag;

use super::settings::FinetuneConfig;
use crate::exit::{exit_code, usage};
use crate::stop::switch_on_signals;
use crate::usage::Told;

/// Flags that start processes on this machine.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Machine", rename_all = "snake_case")]
pub(crate) struct ProcessArgs {
    /// GPUs of this machine to train on: as many processes share out the micro-batches of each step
    #[arg(long, value_name = "N")]
    gpus: Option<usize>,
    /// Processes of this machine to train in; each has its share of the CPU's cores
    #[arg(long, value_name = "N", conflicts_with = "gpus")]
    processes: Option<usize>,
}

impl ProcessArgs {
    /// Returns the number of processes: those asked for, or those that a launcher has started.
    pub(crate) fn count(&self, launch: Option<&Launch>) -> Result<usize> {
        let started = launch.map(|launch| launch.world_size);
        let asked = self.gpus.or(self.processes);
        match (asked, launch) {
            (Some(0), _) => Err(usage("gpus and processes are numbers of processes, at least 1")),
            (Some(asked), Some(launch)) if asked != launch.world_size => Err(usage(format!(
                "{asked} processes are asked for, but {} has started {}: leave --gpus and --processes out",
                launch.launcher, launch.world_size
            ))),
            _ => Ok(asked.or(started).unwrap_or(1)),
        }
    }

    /// Runs this program in each of `count` processes.
    pub(crate) fn start(&self, count: usize, config: &FinetuneConfig) -> Result<()> {
        if self.gpus.is_some() && config.device == DeviceChoice::Cpu {
            return Err(usage(format!(
                "--gpus {count} and --device cpu are two things; --processes is for CPUs"
            )));
        }
        let program = env::current_exe().context("cannot find this program on the disk")?;
        let command = |_| {
            let mut command = Command::new(&program);
            // Its own name tells which program it is.
            #[cfg(unix)]
            std::os::unix::process::CommandExt::arg0(
                &mut command,
                env::args_os().next().unwrap_or_else(|| program.clone().into()),
            );
            command.args(env::args_os().skip(1));
            command
        };
        // The first process tells.
        let stop = StopFlag::new();
        switch_on_signals(&stop, || {})?;
        let ended = run_processes(count, &command, &|| stop.is_requested())?;
        if ended.code == 0 { Ok(()) } else { Err(Told(ended.code).into()) }
    }

    /// Joins the other processes, on the device that is this one's.
    pub(crate) fn join(
        &self,
        launch: Option<Launch>,
        config: &FinetuneConfig,
    ) -> Result<(ProcessGroup, Device)> {
        let mut choice = config.device;
        if let Some(launch) = &launch {
            speak_as(launch.rank);
            choice = choice.of_process(launch.local_rank)?;
        }
        if self.gpus.is_some() && choice == DeviceChoice::Auto {
            choice = DeviceChoice::Cuda(None);
        }
        let device = choice.start()?;
        let group = ProcessGroup::join(launch, device)?;
        // `torchrun` and others that give a number of threads have shared the cores out.
        let share = group.threads().filter(|_| env::var_os("OMP_NUM_THREADS").is_none());
        set_threads(config.threads.or(share))?;
        Ok((group, device))
    }
}

/// Ends the work of a process: waits for the others, or tells them of the failure.
pub(crate) fn leave(group: &ProcessGroup, result: Result<()>) -> Result<()> {
    let result = result.and_then(|()| group.leave().map_err(Into::into));
    result.map_err(|error| {
        let known = error.downcast_ref::<GroupError>().map(ToString::to_string);
        if group.fail(&known.unwrap_or_else(|| format!("{error:#}"))) {
            error
        } else {
            Told(exit_code(&error)).into()
        }
    })
}
