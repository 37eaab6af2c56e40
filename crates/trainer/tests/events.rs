//! The event files hold, in TensorBoard's own framing, what the metrics hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::*;

/// CRC-32C, bit by bit as RFC 3720 defines it.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0_u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

/// Takes `count` bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, rest) = bytes.split_at(count);
    *bytes = rest;
    head
}

/// Takes a checksummed piece off the front (`TFRecord`: bytes, then their masked checksum).
fn checked<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let content = take(bytes, count);
    let masked = u32::from_le_bytes(take(bytes, 4).try_into().unwrap());
    assert_eq!(masked.wrapping_sub(0xA282_EAD8).rotate_left(15), crc32c(content), "checksum");
    content
}

/// The messages of a file.
fn records(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).unwrap();
    let mut bytes = file.as_slice();
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(checked(&mut bytes, 8).try_into().unwrap());
        records.push(checked(&mut bytes, length as usize).to_vec());
    }
    records
}

#[derive(Debug, PartialEq)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &mut &[u8]) -> u64 {
    (0..)
        .try_fold(0, |value, at| {
            let byte = take(bytes, 1)[0];
            let value = value | u64::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 { Err(value) } else { Ok(value) }
        })
        .unwrap_err()
}

/// The fields of a protobuf message.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => Field::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            2 => {
                let length = varint(&mut bytes) as usize;
                Field::Bytes(take(&mut bytes, length).to_vec())
            }
            5 => Field::Number(u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()).into()),
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

fn bytes(fields: &[(u64, Field)], number: u64) -> impl Iterator<Item = &[u8]> {
    fields.iter().filter_map(move |(of, field)| match field {
        Field::Bytes(bytes) if *of == number => Some(bytes.as_slice()),
        _ => None,
    })
}

fn number(fields: &[(u64, Field)], number: u64) -> u64 {
    let found = fields.iter().find_map(|(of, field)| match field {
        Field::Number(value) if *of == number => Some(*value),
        _ => None,
    });
    found.unwrap_or(0)
}

fn event_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("runs")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The curves that TensorBoard shows for a directory, in which a session that starts voids what older ones said of its
/// steps (`event_accumulator.py`, `_CheckForOutOfOrderStepAndMaybePurge`).
fn curves(dir: &Path) -> BTreeMap<String, BTreeMap<u64, f32>> {
    let mut curves: BTreeMap<String, BTreeMap<u64, f32>> = BTreeMap::new();
    for file in event_files(dir) {
        assert!(file.file_name().unwrap().to_str().unwrap().contains("tfevents"));
        for (index, record) in records(&file).iter().enumerate() {
            let event = fields(record);
            let wall_time = f64::from_bits(number(&event, 1));
            assert!(wall_time > 1.6e9, "{wall_time}");
            let step = number(&event, 2);
            if index == 0 {
                assert_eq!(bytes(&event, 3).next(), Some(b"brain.Event:2".as_slice()));
            }
            if let Some(session) = bytes(&event, 7).next() {
                assert_eq!(number(&fields(session), 1), 1, "SessionLog.START");
                for curve in curves.values_mut() {
                    curve.retain(|&of, _| of < step);
                }
            }
            for summary in bytes(&event, 5) {
                for value in bytes(&fields(summary), 1) {
                    let value = fields(value);
                    let tag = String::from_utf8(bytes(&value, 1).next().unwrap().to_vec()).unwrap();
                    let scalar = f32::from_bits(number(&value, 2) as u32);
                    curves.entry(tag).or_default().insert(step, scalar);
                }
            }
        }
    }
    curves
}

/// The same curves, from the metrics.
fn expected(dir: &Path) -> BTreeMap<&'static str, BTreeMap<u64, f32>> {
    let mut curves: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    let names = [
        ("loss", "train/loss"),
        ("learning_rate", "train/learning_rate"),
        ("grad_norm", "train/grad_norm"),
        ("eval_loss", "eval/loss"),
    ];
    for line in metrics(dir) {
        for (field, tag) in names {
            if let Some(value) = line.get(field).and_then(serde_json::Value::as_f64) {
                curves.entry(tag).or_default().insert(line["step"].as_u64().unwrap(), value as f32);
            }
        }
    }
    curves
}

#[test]
fn event_files_hold_the_curves_of_the_metrics_before_and_after_a_resume() {
    let dir = tempfile::tempdir().unwrap();
    train(&config(), &Bigram::new(), dir.path(), None).unwrap();
    let compare = || {
        let actual = curves(dir.path());
        let expected = expected(dir.path());
        assert_eq!(expected.len(), 4);
        assert!(expected.values().all(|curve| curve.len() >= 3), "{expected:?}");
        for (tag, curve) in &expected {
            assert_eq!(&actual[*tag], curve, "{tag}");
        }
        assert_eq!(actual["train/tokens_per_s"].len(), expected["train/loss"].len());
    };
    assert_eq!(event_files(dir.path()).len(), 1);
    compare();
    let checkpoint = dir.path().join("checkpoint-6");
    train(&config(), &Bigram::new(), dir.path(), Some(&checkpoint)).unwrap();
    let files = event_files(dir.path());
    assert_eq!(files.len(), 2);
    // What the first file says of steps after the checkpoint is void.
    let sessions: Vec<u64> = records(&files[1])
        .iter()
        .map(|record| fields(record))
        .filter(|event| bytes(event, 7).next().is_some())
        .map(|event| number(&event, 2))
        .collect();
    assert_eq!(sessions, [7]);
    compare();
}
