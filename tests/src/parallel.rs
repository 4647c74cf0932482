//! Several things at a time.

use std::sync::Mutex;

/// Does `work` for each item, in `workers` threads, and collects what came out, in no order.
pub fn map<I, T>(workers: usize, items: I, work: impl Fn(I::Item) -> T + Sync) -> Vec<T>
where
    I: Iterator + Send,
    T: Send,
{
    let (queue, done) = (Mutex::new(items), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = queue.lock().ok().and_then(|mut items| items.next()) {
                    let result = work(item);
                    if let Ok(mut all) = done.lock() {
                        all.push(result);
                    }
                }
            });
        }
    });
    done.into_inner().unwrap_or_default()
}
