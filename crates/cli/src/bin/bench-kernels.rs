//! `bench-kernels`: see `cli::bench_kernels`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::bench_kernels::KernelsArgs>(cli::bench_kernels::run)
}
