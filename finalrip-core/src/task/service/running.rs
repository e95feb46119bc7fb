//! Which tasks this process is doing something for.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::task::records::TaskId;

/// Counts, for each task, what is being done for it.
#[derive(Debug, Default)]
pub(super) struct Running {
    tasks: Mutex<HashMap<TaskId, usize>>,
    ended: Notify,
}

/// Something that is being done for a task, until it is dropped.
pub(super) struct Entered<'a> {
    running: &'a Running,
    task: TaskId,
}

impl Running {
    pub(super) fn enter(&self, task: TaskId) -> Entered<'_> {
        *self.tasks.lock().unwrap_or_else(PoisonError::into_inner).entry(task).or_default() += 1;
        Entered { running: self, task }
    }

    /// Waits until nothing is being done for a task. Nothing new may be begun for it any more.
    pub(super) async fn wait_for_end(&self, task: TaskId) {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // From here on no end is missed.
            ended.as_mut().enable();
            if !self.tasks.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&task) {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut tasks = self.running.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let left = tasks.get(&self.task).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            tasks.remove(&self.task);
        } else {
            tasks.insert(self.task, left);
        }
        drop(tasks);
        self.running.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_the_last_is_waited_for() {
        let running = Running::default();
        running.wait_for_end(TaskId(1)).await;
        let (one, two, other) = (running.enter(TaskId(1)), running.enter(TaskId(1)), running.enter(TaskId(2)));
        let mut end = Box::pin(running.wait_for_end(TaskId(1)));
        let moment = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(moment, &mut end).await.is_err());
        drop(one);
        assert!(tokio::time::timeout(moment, &mut end).await.is_err());
        drop(two);
        end.await;
        drop(other);
    }
}
