//! Events for containerd, in order, from a thread of their own: nobody waits for containerd.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message;

use crate::api::{Any, Envelope, ForwardRequest, Timestamp};
use crate::log;
use crate::ttrpc::Client;

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";

/// The queue to containerd.
pub struct Publisher {
    namespace: String,
    queue: Mutex<Option<Sender<Envelope>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Publisher {
    /// `socket` is containerd's ttrpc socket; without one events go nowhere.
    pub fn start(namespace: &str, socket: Option<String>) -> std::io::Result<Publisher> {
        let (queue, events) = channel();
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .stack_size(128 << 10)
            .spawn(move || forward(&events, socket.as_deref()))?;
        Ok(Publisher {
            namespace: namespace.to_owned(),
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Queues an event. `topic` is its path (`/tasks/start`), `kind` the name of its type (`TaskStart`).
    pub fn publish(&self, topic: &str, kind: &str, event: &impl Message) {
        let any = Any { type_url: format!("containerd.events.{kind}"), value: event.encode_to_vec() };
        let envelope = Envelope {
            timestamp: Some(Timestamp::now()),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(any),
        };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = &*queue {
            // The thread ends only with the queue.
            let _ = queue.send(envelope);
        }
    }

    /// Sends what is queued and ends.
    pub fn finish(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

fn forward(events: &Receiver<Envelope>, socket: Option<&str>) {
    let mut client = None;
    for envelope in events {
        let Some(socket) = socket else { continue };
        let topic = envelope.topic.clone();
        let request = ForwardRequest { envelope: Some(envelope) }.encode_to_vec();
        // containerd may be restarted meanwhile.
        for attempt in 0u64..5 {
            if client.is_none() {
                client = Client::connect(socket).ok();
            }
            match client.as_mut().map(|client| client.call(SERVICE, "Forward", request.clone())) {
                Some(Ok(response)) => {
                    if let Some(status) = response.status.filter(|status| status.code != 0) {
                        log::error(&format!("containerd refused the event {topic}: {}", status.message));
                    }
                    break;
                }
                Some(Err(error)) if attempt == 4 => {
                    log::error(&format!("the event {topic} is lost: {error}"))
                }
                _ => {}
            }
            client = None;
            std::thread::sleep(Duration::from_millis(200 * attempt));
        }
    }
}
