//! Adapters over a toy model: their laws and their files. With a real model they are tested in the crate `cli`.

mod common;
mod dropout;
mod files;
mod laws;
