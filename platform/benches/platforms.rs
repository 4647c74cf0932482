//! What operations of a back end cost, in microseconds: median, and the 10th and 90th of 100 of the means of batches.
//! `cargo bench -p platform --bench platforms [--ptrace | --systrap] [NAME]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use platform::ptrace::PtracePlatform;
use platform::systrap::SystrapPlatform;
use platform::{AddressSpace, Backing, Context, MemoryFile, PAGE_SIZE, Platform, Prot, Registers, Trap};

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x60_0000;

/// 2: mov eax, 39; syscall; jmp 2b
const CALLS: &[u8] = &[0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];
/// mov rbx, rdi; 2: dec rbx; jnz 2b; syscall; jmp start
const WORK: &[u8] = &[0x48, 0x89, 0xfb, 0x48, 0xff, 0xcb, 0x75, 0xfb, 0x0f, 0x05, 0xeb, 0xf4];
/// 2: mov [rdi], rsi; jmp 2b
const STORE: &[u8] = &[0x48, 0x89, 0x37, 0xeb, 0xfb];

fn space_with(platform: &Arc<dyn Platform>, code: &[u8]) -> Arc<dyn AddressSpace> {
    let memory = platform.memory();
    let space = platform.new_address_space().expect("space");
    let frames = memory.allocate(PAGE_SIZE).expect("code");
    memory.write(frames.offset, code).expect("write");
    space.map(CODE, PAGE_SIZE, Prot::READ | Prot::EXEC, Backing::Memory(frames.offset)).expect("map");
    let data = memory.allocate(16 * PAGE_SIZE).expect("data");
    space.map(DATA, data.len, Prot::READ | Prot::WRITE, Backing::Memory(data.offset)).expect("map");
    space
}

fn start() -> Registers {
    Registers { rip: CODE, rdi: DATA, ..Registers::default() }
}

fn call(context: &mut dyn Context, space: &Arc<dyn AddressSpace>, regs: &mut Registers) {
    assert_eq!(context.run(space, regs).expect("run"), Trap::Syscall);
    regs.rax = 42;
}

/// Prints the cost of `each`, from batches of `count`.
fn measure(name: &str, count: u32, mut each: impl FnMut()) {
    if std::env::args().skip(1).any(|a| !a.starts_with('-') && !name.contains(&a)) {
        return;
    }
    let mut means = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) || means.len() < 20 {
        let batch = Instant::now();
        for _ in 0..count {
            each();
        }
        means.push(batch.elapsed().as_secs_f64() * 1e6 / f64::from(count));
    }
    means.sort_by(f64::total_cmp);
    let at = |part: usize| means[(means.len() - 1) * part / 100];
    println!("{name:40} {:9.2}  ({:.2} .. {:.2})", at(50), at(10), at(90));
}

fn ptrace() -> Arc<dyn Platform> {
    Arc::new(PtracePlatform::new(MemoryFile::new(None).expect("memory file")).expect("ptrace"))
}

fn systrap() -> Arc<dyn Platform> {
    Arc::new(SystrapPlatform::new(MemoryFile::new(None).expect("memory file")).expect("systrap"))
}

fn main() {
    measure("memory file", 5, || drop(MemoryFile::new(None).expect("memory file")));
    let wanted = |name: &str| {
        let mut named = std::env::args().filter(|a| a == "--ptrace" || a == "--systrap").peekable();
        named.peek().is_none() || named.any(|a| a == name)
    };
    if wanted("--ptrace") {
        println!("ptrace");
        operations(ptrace);
    }
    if wanted("--systrap") {
        println!("systrap");
        operations(systrap);
    }
}

fn operations(make: fn() -> Arc<dyn Platform>) {
    let platform = &make();
    measure("memory file and platform, made and ended", 5, || drop(make()));
    let space = space_with(platform, CALLS);
    let mut context = platform.new_context().expect("context");
    let mut regs = start();
    call(&mut *context, &space, &mut regs);
    measure("system call", 200, || call(&mut *context, &space, &mut regs));
    measure("system call and vector registers", 200, || {
        call(&mut *context, &space, &mut regs);
        context.fpu().expect("fpu");
    });
    let backing = Backing::Memory(0);
    measure("system call that maps a page", 200, || {
        call(&mut *context, &space, &mut regs);
        space.map(DATA + PAGE_SIZE, PAGE_SIZE, Prot::READ, backing).expect("map");
    });
    measure("system call that protects a page", 200, || {
        call(&mut *context, &space, &mut regs);
        space.protect(DATA + PAGE_SIZE, PAGE_SIZE, Prot::READ).expect("protect");
    });
    measure("fork, run once, exit, on one thread", 20, || {
        let child = space.fork().expect("fork");
        let mut context = platform.new_context().expect("context");
        call(&mut *context, &child, &mut regs.clone());
    });
    measure("fork, run once, exit, on a new thread", 20, || {
        let child = space.fork().expect("fork");
        let regs = regs;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut context = platform.new_context().expect("context");
                call(&mut *context, &child, &mut regs.clone());
            });
        });
    });
    measure("thread, run once, exit", 20, || {
        space.prepare_thread().expect("prepare");
        let (space, regs) = (&space, regs);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut context = platform.new_context().expect("context");
                call(&mut *context, space, &mut regs.clone());
            });
        });
    });
    measure("host thread alone", 20, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {});
        });
    });
    measure("exec in a process of its own", 20, || {
        let new = space_with(platform, CALLS);
        for i in 0..10 {
            new.map(0x1000_0000 + i * 0x2000, PAGE_SIZE, Prot::READ, backing).expect("map");
        }
        let mut context = platform.new_context().expect("context");
        call(&mut *context, &new, &mut start());
    });
    let code = space_with(platform, STORE);
    let mut storing = platform.new_context().expect("context");
    let mut store_regs = start();
    measure("write fault that is resolved", 100, || {
        code.protect(DATA, PAGE_SIZE, Prot::READ).expect("protect");
        store_regs.rip = CODE;
        store_regs.rdi = DATA;
        assert!(matches!(storing.run(&code, &mut store_regs).expect("run"), Trap::Fault { .. }));
        code.protect(DATA, PAGE_SIZE, Prot::READ | Prot::WRITE).expect("protect");
    });
    drop(storing);

    for (name, rounds, calls) in [
        ("15,000 calls each", 1u64, 15_000),
        ("2,000 calls each, 20 us of work a call", 80_000, 2000),
        ("40 calls each, 3 ms of work a call", 12_000_000, 40),
    ] {
        for threads in [1, 2, 4] {
            measure(&format!("{threads} threads, {name}"), 1, || parallel(platform, threads, rounds, calls));
        }
    }
}

/// Runs that many guest threads, each in a space of its own, until each has made its calls.
fn parallel(platform: &Arc<dyn Platform>, threads: u32, rounds: u64, calls: u32) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || {
                let space = space_with(platform, WORK);
                let mut context = platform.new_context().expect("context");
                let mut regs = Registers { rdi: rounds, ..start() };
                for _ in 0..calls {
                    call(&mut *context, &space, &mut regs);
                }
            });
        }
    });
}
