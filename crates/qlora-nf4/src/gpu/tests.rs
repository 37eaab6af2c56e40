//! The kernels' own sources, in the emulator and, where there is one, on a GPU, give what tensor operations do.

use tch::{Device, Kind, Tensor};
use torch_ext::ExtError;
use torch_ext::kernel::{Launch, Source, compile};

use super::emulator::Emulator;
use super::error::KernelError;
use super::{DEQUANTIZE, MATVEC4, MATVEC8, QUANTIZE, device, laws};
use crate::{Code4, Config4, Tensor4, Tensor8, twin};

const SOURCES: [&Source; 4] = [&DEQUANTIZE, &MATVEC4, &MATVEC8, &QUANTIZE];

/// Data types, block sizes, nested scales or not.
fn configs() -> Vec<Config4> {
    let config = |code, block_size, double_quant| Config4 { code, block_size, double_quant };
    vec![
        config(Code4::Nf4, 64, false),
        config(Code4::Nf4, 64, true),
        config(Code4::Nf4, 32, true),
        config(Code4::Nf4, 256, false),
        config(Code4::Fp4, 64, true),
    ]
}

/// Bfloat16 with what quantising finds hard: ties, zeros, infinities and NaN, each in a block of its own.
fn hard(device: Device) -> Tensor {
    let xs = laws::numbers(&[70, 192], 9, Device::Cpu).unwrap();
    let flat = xs.view([-1]);
    let put = |block: i64, values: &Tensor| flat.narrow(0, block * 64, values.numel() as i64).copy_(values);
    put(3, &Tensor::zeros([64], (Kind::Float, Device::Cpu)));
    put(5, &Tensor::from_slice(&[f32::INFINITY]));
    put(7, &Tensor::from_slice(&[1.0, f32::NAN]));
    put(8, &Tensor::from_slice(&Code4::Nf4.bounds()));
    put(9, &Tensor::from_slice(&[1e-40f32; 64]));
    put(10, &(Tensor::from_slice(&[3e38f32]).repeat([64])));
    xs.to_kind(Kind::BFloat16).to(device)
}

fn all_laws(
    device: Device,
    run: &dyn Fn(&Launch<'_>) -> Result<(), ExtError>,
    of: &Source,
) -> Result<(), KernelError> {
    for config in configs() {
        match of.name {
            "nf4_dequantize.cu" => {
                // Of one block of threads, of several, and of more than one turn for each.
                for shape in [[3, 96], [70, 1056], [41, 8]] {
                    laws::dequantizes(config, shape, device, run)?;
                }
            }
            "nf4_matvec.cu" => {
                for rows in 1..=16 {
                    laws::multiplies4(config, [rows, 19, 1056], device, run)?;
                }
                laws::multiplies4(config, [3, 8, 32], device, run)?;
            }
            _ => {}
        }
    }
    if of.name == "int8_matvec.cu" {
        for rows in 1..=16 {
            laws::multiplies8([rows, 19, 528], device, run)?;
        }
        laws::multiplies8([5, 1, 16], device, run)?;
    }
    if of.name == "nf4_quantize.cu" {
        for code in [Code4::Nf4, Code4::Fp4] {
            laws::quantizes(&hard(device), Config4::new(code, false), run)?;
        }
    }
    Ok(())
}

fn emulated(source: &'static Source) {
    let emulator = Emulator::new(source);
    all_laws(Device::Cpu, &|launch| emulator.run(launch), source).unwrap();
}

#[test]
fn dequantising_in_the_emulator_gives_what_tensor_operations_do() {
    emulated(&DEQUANTIZE);
}

#[test]
fn four_bit_products_in_the_emulator_are_those_of_tensor_operations() {
    emulated(&MATVEC4);
}

#[test]
fn eight_bit_products_in_the_emulator_are_those_of_tensor_operations() {
    emulated(&MATVEC8);
}

#[test]
fn quantising_in_the_emulator_gives_what_tensor_operations_do() {
    emulated(&QUANTIZE);
}

/// What the laws compare with is itself what the CPU's codecs give, which are bitsandbytes'.
#[test]
fn tensor_operations_give_what_the_codecs_of_the_cpu_do() {
    let xs = hard(Device::Cpu);
    for config in configs() {
        let ours = Tensor4::quantize(&xs, Config4 { double_quant: false, ..config }).unwrap();
        let (packed, scales) = twin::quantize4(&xs, config).unwrap();
        assert_eq!(ours.packed(), &packed, "{config:?}");
        assert!(ours.scales().unwrap().isclose(&scales, 0.0, 0.0, true).all().int64_value(&[]) == 1);
        let weight = laws::numbers(&[33, 40], 1, Device::Cpu).unwrap();
        let ours = Tensor4::quantize(&weight, config).unwrap();
        for kind in [Kind::Float, Kind::BFloat16] {
            assert_eq!(ours.dequantize(kind).unwrap(), twin::dequantize4(&ours, kind).unwrap(), "{config:?}");
        }
    }
}

/// Each of these changes is a mistake that one can make.
#[test]
fn a_kernel_with_a_mistake_breaks_its_law() {
    let mistakes = [
        (&DEQUANTIZE, "values[byte >> 4]", "values[byte & 15u]"),
        (&DEQUANTIZE, "at < words", "at <= words"),
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
        let verdict = all_laws(Device::Cpu, &|launch| emulator.run(launch), source);
        assert!(verdict.is_err(), "{}: {wrong}", source.name);
    }
}

#[test]
fn threads_that_wait_for_others_that_ended_are_an_error() {
    let text = DEQUANTIZE.text.replace("load_tables(", "if (threadIdx.x == 5) return;\n  load_tables(");
    let emulator = Emulator::of_text(&DEQUANTIZE, &text);
    let config = Config4::new(Code4::Nf4, false);
    let error = laws::dequantizes(config, [4, 64], Device::Cpu, &|launch| emulator.run(launch)).unwrap_err();
    assert!(error.to_string().contains("wait for others"), "{error}");
}

/// NVRTC needs no GPU. `cargo xtask kernels` installs it and names it; elsewhere this looks for one beside libtorch.
#[test]
fn every_kernel_compiles_for_every_generation() {
    for source in SOURCES {
        for capability in [80, 90, 100] {
            match compile(source, capability) {
                Ok(program) => {
                    println!("compiled {} for sm_{capability}: {} bytes", source.name, program.len());
                }
                Err(error @ ExtError::Library { .. }) if std::env::var_os("NVRTC_LIBRARY").is_none() => {
                    eprintln!("skipped: every_kernel_compiles_for_every_generation: {error}");
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// CUDA device 0; `None`, which is said, where there is none.
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
    #[expect(unsafe_code, reason = "a launch of a kernel of our own")]
    // SAFETY: the arguments are those of `launches`, on this device.
    let run = |launch: &Launch<'_>| unsafe { launch.run(0) };
    for source in SOURCES {
        all_laws(device, &run, source).unwrap();
    }
}

/// The way that layers take, in the shapes of a 7B, with no kernel refused.
#[test]
fn on_a_gpu_layers_are_served_by_kernels() {
    let Some(cuda) = cuda("on_a_gpu_layers_are_served_by_kernels") else { return };
    let dense = laws::numbers(&[11008, 4096], 11, cuda).unwrap().to_kind(Kind::BFloat16);
    let config = Config4::new(Code4::Nf4, true);
    let (packed, scales) = device::quantize(&dense, config).unwrap().unwrap();
    let (codes, absmax) = twin::quantize4(&dense, config).unwrap();
    assert!(packed == codes && scales == absmax);
    let (four, eight) = (Tensor4::quantize(&dense, config).unwrap(), Tensor8::quantize(&dense).unwrap());
    let out = Tensor::empty([11008, 4096], (Kind::BFloat16, cuda));
    assert!(device::dequantize_into(&four, &out));
    assert_eq!(out, twin::dequantize4(&four, Kind::BFloat16).unwrap());
    for rows in [1, 3, 16] {
        let xs = laws::numbers(&[rows, 4096], 12, cuda).unwrap().to_kind(Kind::BFloat16);
        let near = |ys: &Tensor, weight: &Tensor| {
            let expected = xs.to_kind(Kind::Float).matmul(&weight.tr());
            let off = (ys.to_kind(Kind::Float) - &expected).abs().max().double_value(&[]);
            assert!(off < expected.abs().max().double_value(&[]) / 128.0, "{rows}: {off}");
        };
        let ys = device::matvec4(&four, &xs).unwrap().unwrap();
        near(&ys, &twin::dequantize4(&four, Kind::Float).unwrap());
        let ys = device::matvec8(&eight, &xs).unwrap().unwrap();
        near(&ys, &eight.dequantize(Kind::Float).unwrap());
    }
}
