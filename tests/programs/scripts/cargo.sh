# needs: cargo
export CARGO_NET_OFFLINE=true CARGO_TERM_QUIET=true CARGO_TARGET_DIR="$PWD/target"
mkdir -p c/src; printf '[package]\nname = "c"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n' > c/Cargo.toml
echo 'fn main() { let t: Vec<_> = (0..4).map(|i| std::thread::spawn(move || i * i)).collect(); println!("{}", t.into_iter().map(|t| t.join().unwrap()).sum::<i32>()); }' > c/src/main.rs
cd c && cargo build && cargo run; echo "exit $?"; cd ..; rm -rf target c
