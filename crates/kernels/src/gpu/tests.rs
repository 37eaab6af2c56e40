//! The kernels' own sources, in the emulator and, where there is one, on a GPU, give what tensor operations do.

use tch::{Device, Kind, Tensor};

use super::checks::{self, Way};
use super::emulator::Emulator;
use super::sources::{
    DEQUANTIZE, DEQUANTIZE8, DROPOUT, FACTORS, KINDS, MATVEC4, MATVEC8, QUANTIZE, RMS_NORM, ROTATE_HALF,
    SWIGLU,
};
use super::{device, hard_numbers, ways};
use crate::cuda::{Launch, Source, compile};
use crate::data::Rows8;
use crate::error::KernelError;
use crate::reference;

/// Of codes of 4 and 8 bits.
const SOURCES: [&Source; 5] = [&DEQUANTIZE, &DEQUANTIZE8, &MATVEC4, &MATVEC8, &QUANTIZE];
/// Of fused passes.
const PASSES: [&Source; 5] = [&RMS_NORM, &ROTATE_HALF, &SWIGLU, &DROPOUT, &FACTORS];

fn all_checks(
    device: Device,
    run: &dyn Fn(&Launch<'_>) -> Result<(), KernelError>,
    of: &Source,
) -> Result<(), KernelError> {
    for way in ways() {
        match of.name {
            "nf4_dequantize.cu" => {
                // Of one block of threads, of several, and of more than one turn for each.
                for shape in [[3, 96], [70, 1056], [41, 8]] {
                    checks::dequantizes(way, shape, device, run)?;
                }
            }
            "nf4_matvec.cu" => {
                for rows in 1..=16 {
                    checks::multiplies4(way, [rows, 19, 1056], device, run)?;
                }
                checks::multiplies4(way, [3, 8, 32], device, run)?;
            }
            _ => {}
        }
    }
    if of.name == "int8_matvec.cu" {
        for rows in 1..=16 {
            checks::multiplies8([rows, 19, 528], device, run)?;
        }
        checks::multiplies8([5, 1, 16], device, run)?;
    }
    if of.name == "int8_dequantize.cu" {
        for kind in KINDS {
            // Of packs, of single numbers, and of more than one turn for each thread.
            for shape in [[3, 96], [70, 1056], [41, 7]] {
                checks::dequantizes8(kind, shape, device, run)?;
            }
        }
    }
    if of.name == "nf4_quantize.cu" {
        for way in ways() {
            checks::quantizes(&hard_numbers(device), Way { block_size: 64, ..way }, run)?;
        }
    }
    Ok(())
}

fn emulated(source: &'static Source) {
    let emulator = Emulator::new(source);
    all_checks(Device::Cpu, &|launch| emulator.run(launch), source).unwrap();
}

#[test]
fn emulated_dequantising_equals_tensor_operations() {
    emulated(&DEQUANTIZE);
}

#[test]
fn emulated_dequantising_of_8_bits_equals_tensor_operations() {
    emulated(&DEQUANTIZE8);
}

#[test]
fn emulated_four_bit_products_equal_tensor_operations() {
    emulated(&MATVEC4);
}

#[test]
fn emulated_eight_bit_products_equal_tensor_operations() {
    emulated(&MATVEC8);
}

#[test]
fn emulated_quantising_equals_tensor_operations() {
    emulated(&QUANTIZE);
}

/// Makes changes each of which is a mistake that one can make.
#[test]
fn a_kernel_with_a_mistake_fails_its_check() {
    let mistakes = [
        (&DEQUANTIZE, "values[byte >> 4]", "values[byte & 15u]"),
        (&DEQUANTIZE, "at < words", "at <= words"),
        (&DEQUANTIZE8, "width % WIDE<T> == 0 && ", ""),
        (&DEQUANTIZE8, "at < len", "at <= len"),
        (&DEQUANTIZE8, "absmax[at / width]", "absmax[at % width]"),
        (&MATVEC4, "if (lane == 0 && m < rows)", "if (lane == 0)"),
        (&MATVEC4, "step = 16", "step = 8"),
        (&MATVEC4, "(at * 32) >> block_log2", "unit"),
        (&MATVEC8, "words[w] >> 24", "words[w] >> 16"),
        (&MATVEC8, "if (row >= outputs) return;", "if (row * 32 + lane >= outputs * 32 + 3) return;"),
        (&QUANTIZE, "(codes[0] << 4) | codes[1]", "(codes[1] << 4) | codes[0]"),
    ];
    for (source, right, wrong) in mistakes {
        let text = source.text.replace(right, wrong);
        assert_ne!(text, source.text, "{right}");
        let emulator = Emulator::of_text(source, &text);
        let result = all_checks(Device::Cpu, &|launch| emulator.run(launch), source);
        assert!(result.is_err(), "{}: {wrong}", source.name);
    }
}

#[test]
fn threads_that_wait_for_others_that_ended_are_an_error() {
    let text = DEQUANTIZE.text.replace("load_tables(", "if (threadIdx.x == 5) return;\n  load_tables(");
    let emulator = Emulator::of_text(&DEQUANTIZE, &text);
    let way = ways()[0];
    let error = checks::dequantizes(way, [4, 64], Device::Cpu, &|launch| emulator.run(launch)).unwrap_err();
    assert!(error.to_string().contains("wait for others"), "{error}");
}

/// Compiles every kernel; NVRTC needs no GPU. `cargo xtask kernels` installs it and names it; elsewhere this looks for one
/// beside libtorch.
#[test]
fn every_kernel_compiles_for_every_generation() {
    for source in SOURCES.into_iter().chain(PASSES) {
        for capability in [75, 80, 90, 100].into_iter().filter(|&it| it >= source.least_capability) {
            match compile(source, capability) {
                Ok(program) => {
                    println!("compiled {} for sm_{capability}: {} bytes", source.name, program.len());
                }
                Err(error @ KernelError::Library { .. }) if std::env::var_os("NVRTC_LIBRARY").is_none() => {
                    eprintln!("skipped: every_kernel_compiles_for_every_generation: {error}");
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Returns CUDA device 0; `None`, which is said, where there is none.
fn cuda(test: &str) -> Option<Device> {
    let there = torch_ext::cuda::is_available();
    if !there {
        eprintln!("skipped: {test} needs a CUDA device");
    }
    there.then_some(Device::Cuda(0))
}

#[test]
fn on_a_gpu_every_kernel_gives_what_tensor_operations_do() {
    let Some(device) = cuda("on_a_gpu_every_kernel_gives_what_tensor_operations_do") else { return };
    let run = device::on(0);
    for source in SOURCES {
        all_checks(device, &run, source).unwrap();
    }
}

/// Goes the way that layers take, in the shapes of a 7B, with no kernel refused.
#[test]
fn on_a_gpu_layers_are_served_by_kernels() {
    let Some(cuda) = cuda("on_a_gpu_layers_are_served_by_kernels") else { return };
    let dense = checks::numbers(&[11008, 4096], 11, cuda).unwrap().to_kind(Kind::BFloat16);
    let way = Way { nested: true, ..ways()[0] };
    let (packed, scales) = device::quantize(&dense, way.table, 64).unwrap().unwrap();
    let (codes, absmax) = reference::quantize4(&dense, way.table, 64).unwrap();
    assert!(packed == codes && scales == absmax);
    let (codes, absmax) = reference::quantize8(&dense).unwrap();
    let (four, eight) = (way.quantize(&dense).unwrap(), Rows8::from_parts(codes, absmax));
    let out = Tensor::empty([11008, 4096], (Kind::BFloat16, cuda));
    assert!(device::dequantize(&four, &out));
    assert_eq!(out, reference::dequantize4(&four, Kind::BFloat16).unwrap());
    for kind in KINDS {
        let out = Tensor::empty([11008, 4096], (kind, cuda));
        assert!(device::dequantize8(&eight, &out));
        assert_eq!(out, reference::dequantize8(&eight, kind).unwrap());
    }
    for rows in [1, 3, 16] {
        let xs = checks::numbers(&[rows, 4096], 12, cuda).unwrap().to_kind(Kind::BFloat16);
        let near = |ys: &Tensor, weight: &Tensor| {
            let expected = xs.to_kind(Kind::Float).matmul(&weight.tr());
            let off = (ys.to_kind(Kind::Float) - &expected).abs().max().double_value(&[]);
            assert!(off < expected.abs().max().double_value(&[]) / 128.0, "{rows}: {off}");
        };
        let ys = device::product4(&four, &xs).unwrap().unwrap();
        near(&ys, &reference::dequantize4(&four, Kind::Float).unwrap());
        let ys = device::product8(&eight, &xs).unwrap().unwrap();
        near(&ys, &reference::dequantize8(&eight, Kind::Float).unwrap());
    }
}
