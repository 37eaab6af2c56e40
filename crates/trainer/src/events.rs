//! TensorBoard event files.
//!
//! A file is a sequence of records (length, its checksum, bytes, their checksum: TensorFlow `lib/io/record_writer`), each
//! an `Event` message of `tensorboard/compat/proto/event.proto`. A scalar needs five fields of it, written here by hand.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::TrainError;
use crate::crc32c::crc32c;
use crate::error::IoContext;
use crate::report::Reporter;

/// The scalars of a run. They are a second view of `metrics.jsonl`: where they cannot be written, the run goes on without.
#[derive(Debug)]
pub(crate) struct Events(Option<EventWriter>);

impl Events {
    /// Starts a file as [`EventWriter::create`] does.
    pub(crate) fn create(dir: &Path, first_step: u64, reporter: &mut dyn Reporter) -> Self {
        let mut events = Self(None);
        match EventWriter::create(dir, first_step) {
            Ok(writer) => events.0 = Some(writer),
            Err(error) => events.give_up(&error, reporter),
        }
        events
    }

    /// Adds the values of one step.
    pub(crate) fn scalars(&mut self, step: u64, scalars: &[(&str, f64)], reporter: &mut dyn Reporter) {
        if let Some(Err(error)) = self.0.as_mut().map(|writer| writer.scalars(step, scalars)) {
            self.give_up(&error, reporter);
        }
    }

    /// Ends the file: half a record may be in it.
    fn give_up(&mut self, error: &TrainError, reporter: &mut dyn Reporter) {
        self.0 = None;
        let cause = error.source().map_or(String::new(), |cause| format!(" ({cause})"));
        reporter.note(&format!("{error}{cause}: the run goes on without events for TensorBoard"));
    }
}

/// A file of scalars.
#[derive(Debug)]
struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Starts a new file in `dir`, which voids the values that older files hold for `first_step` and later.
    fn create(dir: &Path, first_step: u64) -> Result<Self, TrainError> {
        fs::create_dir_all(dir).at("create", dir)?;
        let now = now();
        // TensorBoard reads the files of a folder in the order of their names. Microseconds keep two apart that a quick
        // restart makes within one second.
        let (seconds, micros) = (now.as_secs(), now.subsec_micros());
        let path = dir.join(format!("events.out.tfevents.{seconds:010}.{micros:06}.{}", process::id()));
        let file = File::create_new(&path).at("create", &path)?;
        let mut writer = Self { path, file };
        writer.append(0, &bytes_field(3, b"brain.Event:2"))?;
        let session_start = varint_field(1, 1);
        writer.append(first_step, &bytes_field(7, &session_start))?;
        Ok(writer)
    }

    /// Adds the values of one step.
    fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<(), TrainError> {
        let value = |&(tag, value): &(&str, f64)| {
            let mut message = bytes_field(1, tag.as_bytes());
            message.push(key(2, 5));
            message.extend((value as f32).to_le_bytes());
            bytes_field(1, &message)
        };
        let summary: Vec<u8> = scalars.iter().flat_map(value).collect();
        self.append(step, &bytes_field(5, &summary))
    }

    /// Adds an event with `content`, an encoded field.
    fn append(&mut self, step: u64, content: &[u8]) -> Result<(), TrainError> {
        let mut event = vec![key(1, 1)];
        event.extend(now().as_secs_f64().to_le_bytes());
        event.extend(varint_field(2, step));
        event.extend(content);
        self.file.write_all(&record(&event)).at("write", &self.path)
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Frames `data` as one record.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut framed = length.to_vec();
    framed.extend(masked_crc(&length).to_le_bytes());
    framed.extend(data);
    framed.extend(masked_crc(data).to_le_bytes());
    framed
}

/// Masks a checksum so that it may itself be part of checksummed data.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data.iter().copied()).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// Encodes the key of a protobuf field: its number (below 16) and wire type.
fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn varint_field(field: u8, value: u64) -> Vec<u8> {
    let mut bytes = vec![key(field, 0)];
    bytes.extend(varint(value));
    bytes
}

fn bytes_field(field: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![key(field, 2)];
    bytes.extend(varint(content.len() as u64));
    bytes.extend(content);
    bytes
}
