//! Compiles the C++ side against the libtorch that torch-sys found, and lets tests find it at run time.

use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=cpp");
    // Set by torch-sys (`links = "tch"`) for its direct dependents.
    let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from) else {
        println!("cargo:warning=torch-sys named no libtorch; run `cargo xtask setup`");
        return;
    };
    let include = lib.join("../include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .pic(true)
        .warnings(false)
        .opt_level(2)
        .include("cpp/gloo-names")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", "1")
        .file("cpp/attention.cpp")
        .file("cpp/cross_entropy.cpp")
        .file("cpp/checkpoint.cpp")
        .file("cpp/custom.cpp")
        .file("cpp/storage.cpp")
        .file("cpp/cuda.cpp")
        .file("cpp/distributed.cpp")
        .file("cpp/generator.cpp")
        .file("cpp/graph.cpp")
        .file("cpp/parallel.cpp")
        .file("cpp/scalar_errors.cpp")
        .file("cpp/settings.cpp")
        .compile("torch_ext_cpp");
    println!("cargo:rustc-link-search=native={}", lib.display());
    println!("cargo:rustc-link-lib=torch_cpu");
    println!("cargo:rustc-link-lib=c10");
    link_libtorch::rpath();
}
