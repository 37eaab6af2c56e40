//! A run, planned: parameters, memory, time and disk, for people and as JSON.

use std::fmt;
use std::path::Path;

use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;
use trainer::{OptimizerKind, TrainConfig};

use crate::DevicePart;
use crate::memory::{MemoryPlan, RunShape};
use crate::time_plan::TimePlan;

/// The plan of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunPlan {
    /// Name or path of the base.
    pub base_model: String,
    /// Parameters of the base.
    pub parameters: i64,
    /// Values that train.
    pub trainable_parameters: i64,
    /// `cpu` or `cuda`.
    pub device: &'static str,
    /// Precision of the base and of the computation.
    pub dtype: &'static str,
    /// Quantisation of the linear layers.
    pub linear_layers: Option<String>,
    /// Records of one forward pass.
    pub micro_batch_size: u32,
    /// Tokens of the longest record.
    pub cutoff_len: usize,
    /// Records of one optimiser step.
    pub batch_size: u32,
    /// Processes that share out a step's micro-batches.
    pub processes: usize,
    /// Optimiser.
    pub optimizer: OptimizerKind,
    /// Set for weights that are mapped from their file and take no memory of their own.
    pub mapped: bool,
    /// Estimate of the memory, in bytes.
    pub memory: MemoryPlan,
    /// Bytes that the device has free, where the machine says.
    pub free_memory: Option<f64>,
    /// The parts of a model that is shared out over several GPUs; empty otherwise.
    pub parts: Vec<DevicePart>,
    /// Estimate of the time.
    pub time: Option<TimePlan>,
    /// Reason for which there is no estimate of the time.
    pub no_time: Option<String>,
    /// Estimate of the disk, in bytes.
    pub disk: DiskPlan,
}

/// Bytes of the output directory.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DiskPlan {
    /// The adapter, or the whole model.
    pub result: f64,
    /// One checkpoint: the result and the optimiser's state.
    pub checkpoint: f64,
    /// Checkpoints that lie there at one time, the one being written among them.
    pub checkpoints: u64,
    /// Bytes that the disk has free, where the machine says.
    pub free: Option<f64>,
}

impl DiskPlan {
    /// Estimates the disk of a run of `steps` steps, where they are known, into `output_dir`.
    pub fn estimate(run: &RunShape, config: &TrainConfig, steps: Option<u64>, output_dir: &Path) -> Self {
        let result = run.trainable as f64 * 4.0;
        // The last `save_total_limit`, the best, and a new one before the oldest goes.
        let kept = config.save_total_limit.map_or(u64::MAX - 2, u64::from) + 2;
        let saved = steps.map_or(kept, |steps| steps.div_ceil(u64::from(config.save_steps.max(1))));
        let free =
            output_dir.ancestors().find(|dir| dir.exists()).or(Some(Path::new("."))).and_then(free_space);
        Self {
            result,
            checkpoint: result + config.optimizer.state_bytes(run.trainable as f64),
            checkpoints: saved.min(kept),
            free,
        }
    }

    /// Returns the bytes of the directory at its fullest.
    pub fn total(&self) -> f64 {
        self.result + self.checkpoint * self.checkpoints as f64
    }
}

/// Reads the bytes that an ordinary user may still write to the disk of `dir`.
fn free_space(dir: &Path) -> Option<f64> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let disk = rustix::fs::statvfs(dir).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize) as f64)
}

impl RunPlan {
    /// Returns the bytes that the device has to hold: each GPU has one process; a CPU's memory has all of them, and what is mapped once.
    pub fn memory_needed(&self) -> f64 {
        let on_device = if self.device == "cuda" { 1.0 } else { self.processes as f64 };
        let shared = if self.mapped { self.memory.weights } else { 0.0 };
        shared + on_device * (self.memory.total() - shared)
    }

    /// Returns what the run lacks, in a sentence; none where it fits, or where the machine does not say.
    pub fn lacks(&self) -> Option<String> {
        let over = |need: f64, free: Option<f64>| free.filter(|free| need > *free);
        let fullest = self.parts.iter().max_by(|a, b| (a.bytes / a.free).total_cmp(&(b.bytes / b.free)));
        let (needed, free, place) = match fullest {
            Some(part) => (part.bytes, Some(part.free), format!(" on cuda:{}", part.gpu)),
            None => (self.memory_needed(), self.free_memory, String::new()),
        };
        let memory = over(needed, free).map(|free| {
            let dtype = if self.dtype == "float32" && self.memory.adapter > 0.0 { ", --dtype bfloat16" } else { "" };
            format!(
                "{} of memory are needed{place} and {} are free; try a smaller micro_batch_size or cutoff_len, \
                 --gradient_checkpointing{dtype}",
                bytes(needed),
                bytes(free)
            )
        });
        let disk = over(self.disk.total(), self.disk.free).map(|free| {
            let needed = bytes(self.disk.total());
            format!(
                "{needed} of disk are needed and {} are free; try a lower --save_total_limit",
                bytes(free)
            )
        });
        let lacks: Vec<String> = memory.into_iter().chain(disk).collect();
        (!lacks.is_empty()).then(|| lacks.join("; "))
    }

    /// Returns the plan as JSON, with its sums: `memory_bytes`, `disk_bytes`, and `fits`, null where the machine does not say.
    ///
    /// # Errors
    /// Never in practice: every field is a number or a text.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        if let Some(fields) = value.as_object_mut() {
            let is_known = self.free_memory.is_some();
            let fits = if self.lacks().is_some() { Some(false) } else { is_known.then_some(true) };
            fields.insert("memory_bytes".to_owned(), self.memory_needed().into());
            fields.insert("disk_bytes".to_owned(), self.disk.total().into());
            fields.insert("fits".to_owned(), fits.into());
            fields.insert("lacks".to_owned(), self.lacks().into());
        }
        serde_json::to_string_pretty(&value)
    }
}

impl fmt::Display for RunPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{}", format!("{name:<26}{value}").trim_end());
        line("base model", self.base_model.clone())?;
        line("parameters", count(self.parameters))?;
        let share = 100.0 * self.trainable_parameters as f64 / self.parameters as f64;
        line("trainable parameters", format!("{} ({share:.4} %)", count(self.trainable_parameters)))?;
        line("device, dtype", format!("{}, {}", self.device, self.dtype))?;
        if let Some(layers) = &self.linear_layers {
            line("linear layers", layers.clone())?;
        }
        let (records, longest) = (self.micro_batch_size, self.cutoff_len);
        let tokens = u64::from(records) * longest as u64;
        line("micro-batch", format!("{records} x {longest} tokens at most = {tokens}"))?;
        let memory = &self.memory;
        if self.processes > 1 {
            let (processes, all) = (self.processes, self.batch_size / records.max(1));
            let each = self.batch_size as usize / processes;
            let shares =
                format!("{processes}, which share out {all} micro-batches a step: {each} records each");
            line("processes", shares)?;
        }
        let of_each = if self.processes > 1 { "of each process" } else { "" };
        line("memory, estimated", of_each.to_owned())?;
        let note = if self.mapped { " (mapped from the file, not copied)" } else { "" };
        line("  weights", format!("{}{note}", bytes(memory.weights)))?;
        line("  adapter", bytes(memory.adapter))?;
        line("  gradients", bytes(memory.gradients))?;
        let place = if memory.page.is_some() { " (in the host's memory, not counted)" } else { "" };
        let optimizer = format!("  optimiser ({})", self.optimizer.title());
        line(&optimizer, format!("{}{place}", bytes(memory.optimizer)))?;
        line("  activations", bytes(memory.activations))?;
        line("  logits", bytes(memory.logits))?;
        line("  total", bytes(memory.total()))?;
        let all: usize = self.parts.iter().map(|part| part.layers).sum();
        for DevicePart { gpu, layers, bytes: needed, free } in &self.parts {
            let share = format!("{} for {layers} of {all} layers; {} free", bytes(*needed), bytes(*free));
            line(&format!("  on cuda:{gpu}"), share)?;
        }
        if self.memory_needed() > memory.total() {
            line("  all processes", bytes(self.memory_needed()))?;
        }
        match (&self.time, &self.no_time) {
            (Some(time), _) => {
                let TimePlan { steps, train_tokens, eval_tokens, flops, flops_per_s, .. } = *time;
                line("time, at least", format!("{} for {steps} steps", duration(time.seconds)))?;
                line(
                    "  tokens",
                    format!("{} trained, {} evaluated", thousands(train_tokens), thousands(eval_tokens)),
                )?;
                line("  work", format!("{flops:.3e} operations of products"))?;
                let rate =
                    format!("{:.1} GFLOP/s, a product of this shape, measured just now", flops_per_s / 1e9);
                line("  rate", rate)?;
            }
            (None, reason) => {
                line("time", format!("unknown: {}", reason.as_deref().unwrap_or("not measured")))?;
            }
        }
        let disk = &self.disk;
        line("disk, estimated", bytes(disk.total()))?;
        line("  result", bytes(disk.result))?;
        line("  checkpoints", format!("{} of {} at most", disk.checkpoints, bytes(disk.checkpoint)))?;
        let fits = match (self.lacks(), self.free_memory) {
            (Some(lacks), _) => format!("no: {lacks}"),
            (None, None) => "unknown: this machine does not say how much memory the device has".to_owned(),
            (None, Some(free)) => {
                let disk = disk.free.map_or_else(String::new, |free| format!(", {} of disk", bytes(free)));
                format!("yes: {} free{disk}", bytes(free))
            }
        };
        line("fits", fits)
    }
}

fn thousands(number: u64) -> String {
    HumanCount(number).to_string()
}

fn count(number: i64) -> String {
    thousands(number.max(0) as u64)
}

fn bytes(bytes: f64) -> String {
    BinaryBytes(bytes.max(0.0) as u64).to_string()
}

fn duration(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn plan(free_memory: f64, free_disk: f64) -> RunPlan {
        let run = RunShape {
            kind: Kind::Float,
            quantization: None,
            trainable: 1000,
            full: false,
            lora_dropout: 0.0,
            gradient_checkpointing: false,
            micro_batch_size: 1,
            cutoff_len: 8,
            optimizer: OptimizerKind::default(),
        };
        let model = llama_model::LlamaConfig::new(100, 32, 64, 2, 4);
        let config = TrainConfig { save_steps: 10, save_total_limit: Some(3), ..TrainConfig::default() };
        let disk = DiskPlan::estimate(&run, &config, Some(1000), Path::new("not/there/yet"));
        RunPlan {
            base_model: "tiny".to_owned(),
            parameters: model.num_parameters(),
            trainable_parameters: 1000,
            device: "cpu",
            dtype: "float32",
            linear_layers: None,
            micro_batch_size: 1,
            cutoff_len: 8,
            batch_size: 4,
            processes: 1,
            optimizer: run.optimizer,
            mapped: true,
            memory: MemoryPlan::estimate(&model, &run, false),
            free_memory: Some(free_memory),
            parts: Vec::new(),
            time: None,
            no_time: Some("no data".to_owned()),
            disk: DiskPlan { free: Some(free_disk), ..disk },
        }
    }

    #[test]
    fn a_directory_holds_the_kept_checkpoints_the_best_and_the_one_being_written() {
        let disk = plan(1e12, 1e12).disk;
        // An adapter of 1,000 values in float32, with two moments of AdamW in each of five checkpoints.
        assert_eq!((disk.result, disk.checkpoint, disk.checkpoints), (4000.0, 12_000.0, 5));
        assert_eq!(disk.total() as u64, 64_000);
    }

    #[test]
    fn a_run_that_does_not_fit_says_what_it_lacks() {
        assert_eq!(plan(1e12, 1e12).lacks(), None);
        let memory = plan(1000.0, 1e12).lacks().unwrap();
        assert!(
            memory.contains("of memory are needed and 1000 B are free")
                && memory.contains("micro_batch_size")
        );
        let disk = plan(1e12, 1000.0).lacks().unwrap();
        assert!(
            disk.contains("62.50 KiB of disk are needed") && disk.contains("--save_total_limit"),
            "{disk}"
        );
        let part = |gpu, bytes| DevicePart { gpu, layers: 1, bytes, free: 2048.0 };
        let split = RunPlan { parts: vec![part(0, 1024.0), part(1, 4096.0)], ..plan(1.0, 1e12) };
        let memory = split.lacks().unwrap();
        assert!(
            memory.starts_with("4.00 KiB of memory are needed on cuda:1 and 2.00 KiB are free"),
            "{memory}"
        );
        let split = RunPlan { parts: vec![part(0, 1024.0), part(1, 1024.0)], ..plan(1.0, 1e12) };
        assert_eq!(split.lacks(), None);
        assert!(split.to_string().contains("1.00 KiB for 1 of 2 layers; 2.00 KiB free"), "{split}");
        let memory = plan(1000.0, 1e12).lacks();
        let json: serde_json::Value = serde_json::from_str(&plan(1000.0, 1e12).to_json().unwrap()).unwrap();
        assert_eq!((&json["fits"], &json["disk_bytes"]), (&false.into(), &64_000.0.into()));
        assert_eq!(json["lacks"].as_str(), memory.as_deref());
    }
}
