//! Files of real torch and safetensors, damaged files, and files of our own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod gguf;
mod safetensors;
mod shards;
mod streams;
mod torch_files;
mod writing;
