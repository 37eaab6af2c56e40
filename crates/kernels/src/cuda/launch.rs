//! One launch of a kernel, as data.

use std::ffi::c_void;

use tch::Tensor;

/// A file of kernels in CUDA C++.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its file name.
    pub(crate) name: &'static str,
    /// Its text.
    pub(crate) text: &'static str,
    /// Name and text of the files it includes.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The kernels in it.
    #[cfg_attr(not(test), expect(dead_code, reason = "the emulator asks for each"))]
    pub(crate) kernels: &'static [&'static str],
    /// The least compute capability that has its instructions, 80 for 8.0.
    pub(crate) least_capability: i32,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument<'a> {
    /// The address of the first element; null for no tensor.
    Tensor(Option<&'a Tensor>),
    /// `int`
    Int(i32),
    /// `long long`
    Long(i64),
    /// `float`
    Float(f32),
    /// A structure of 16 `float`.
    Floats([f32; 16]),
    /// A structure of 16 `unsigned char`.
    Bytes([u8; 16]),
}

/// One launch of a kernel: a row of blocks of threads.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// File of the kernel.
    pub(crate) source: &'static Source,
    /// Its name, `extern "C"`.
    pub(crate) function: &'static str,
    /// Blocks.
    pub(crate) blocks: u32,
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Its arguments.
    pub(crate) arguments: Vec<Argument<'a>>,
}

/// Room for the largest argument.
type Cell = [u64; 8];

impl Launch<'_> {
    /// Calls `body` with the addresses of the arguments, as `cuLaunchKernel` takes them.
    pub(crate) fn with_addresses<R>(&self, body: impl FnOnce(&mut [*mut c_void]) -> R) -> R {
        let mut cells: Vec<Cell> = self.arguments.iter().map(Argument::cell).collect();
        let mut addresses: Vec<*mut c_void> =
            cells.iter_mut().map(|cell| cell.as_mut_ptr().cast::<c_void>()).collect();
        body(&mut addresses)
    }
}

impl Argument<'_> {
    /// Returns its bytes at the start of a cell. Little-endian, as every machine with CUDA is.
    fn cell(&self) -> Cell {
        let mut cell = [0; 8];
        match self {
            Self::Tensor(None) => {}
            Self::Tensor(Some(tensor)) => cell[0] = tensor.data_ptr() as u64,
            Self::Int(value) => cell[0] = u64::from(*value as u32),
            Self::Long(value) => cell[0] = *value as u64,
            Self::Float(value) => cell[0] = u64::from(value.to_bits()),
            Self::Floats(values) => {
                for (word, pair) in cell.iter_mut().zip(values.chunks_exact(2)) {
                    *word = u64::from(pair[0].to_bits()) | u64::from(pair[1].to_bits()) << 32;
                }
            }
            Self::Bytes(bytes) => {
                for (word, eight) in cell.iter_mut().zip(bytes.chunks_exact(8)) {
                    *word = eight.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
                }
            }
        }
        cell
    }
}

#[cfg(test)]
#[expect(unsafe_code, reason = "reads arguments back through their addresses")]
mod tests {
    use super::*;

    const NOTHING: Source =
        Source { name: "nothing.cu", text: "", headers: &[], kernels: &[], least_capability: 80 };

    #[test]
    fn arguments_lie_in_memory_as_c_has_them() {
        let tensor = Tensor::from_slice(&[1.0f32, 2.0]);
        let (floats, bytes) = (std::array::from_fn(|i| i as f32 - 7.5), std::array::from_fn(|i| i as u8 * 3));
        let arguments = vec![
            Argument::Tensor(Some(&tensor)),
            Argument::Tensor(None),
            Argument::Int(-5),
            Argument::Long(-(1 << 40)),
            Argument::Float(0.25),
            Argument::Floats(floats),
            Argument::Bytes(bytes),
        ];
        let launch = Launch { source: &NOTHING, function: "none", blocks: 1, threads: 32, arguments };
        launch.with_addresses(|addresses| {
            // SAFETY: each cell holds a value of the type that is read.
            unsafe {
                assert_eq!(addresses[0].cast::<*mut c_void>().read(), tensor.data_ptr());
                assert!(addresses[1].cast::<*mut c_void>().read().is_null());
                assert_eq!(addresses[2].cast::<i32>().read(), -5);
                assert_eq!(addresses[3].cast::<i64>().read(), -(1 << 40));
                assert_eq!(addresses[4].cast::<f32>().read().to_bits(), 0.25f32.to_bits());
                let read = addresses[5].cast::<[f32; 16]>().read();
                assert_eq!(read.map(f32::to_bits), floats.map(f32::to_bits));
                assert_eq!(addresses[6].cast::<[u8; 16]>().read(), bytes);
            }
        });
    }
}
