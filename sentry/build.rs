//! Builds the vDSO, an ELF object of its own, with the C compiler's driver (which is there for linking anyway).

#![forbid(unsafe_code)]

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let folder = "src/loader/vdso";
    for file in ["vdso.s", "vdso.lds"] {
        println!("cargo::rerun-if-changed={folder}/{file}");
    }
    println!("cargo::rerun-if-env-changed=CC");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("vdso.so");
    let status = Command::new(&compiler)
        .args([
            "-shared",
            "-nostdlib",
            "-fPIC",
            "-m64",
            "-Wl,-soname,linux-vdso.so.1",
            "-Wl,--hash-style=both",
        ])
        .args(["-Wl,-Bsymbolic", "-Wl,--build-id=none", "-Wl,-z,max-page-size=4096", "-Wl,-z,noexecstack"])
        .args(["-Wl,--eh-frame-hdr", "-Wl,-z,norelro"])
        .arg(format!("-Wl,-T,{folder}/vdso.lds"))
        .arg("-o")
        .arg(&out)
        .arg(format!("{folder}/vdso.s"))
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => {
            panic!("{compiler} could not build the vdso ({status}); a C compiler with an assembler is needed")
        }
        Err(error) => panic!("{compiler} could not be started ({error}); install a C compiler or set CC"),
    }
}
