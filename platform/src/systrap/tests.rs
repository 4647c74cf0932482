use super::*;

fn platform() -> Arc<dyn Platform> {
    let memory = MemoryFile::new(None).expect("memory file");
    Arc::new(SystrapPlatform::new(memory).expect("platform"))
}

crate::conformance::suite!(platform());
