//! Files of real torch and safetensors, damaged files, and files of our own.

mod common;
mod safetensors;
mod shards;
mod torch_files;
mod writing;
