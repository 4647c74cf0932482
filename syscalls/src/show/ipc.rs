//! Structures of System V IPC.

use abi::ipc::SemBuf;

use super::{Show, ShowCx};

impl Show for SemBuf {
    fn show(&self, cx: &mut ShowCx<'_>) {
        let SemBuf { sem_num, sem_op, sem_flg } = self;
        cx.write(format_args!("{{sem_num={sem_num}, sem_op={sem_op}, sem_flg={sem_flg:#o}}}"));
    }
}
