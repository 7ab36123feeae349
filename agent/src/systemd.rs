//! What systemd hears from the agent (sd_notify(3)): READY, STATUS, RELOADING, STOPPING and the watchdog's keep-alive.
//!
//! Outside systemd every call does nothing, because `NOTIFY_SOCKET` is not set.

use hostwright_core::status::Status;
use hostwright_duty::supervisor::Statuses;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::sync::watch;

/// Startup, or a reload, is complete.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload begins; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The agent drains.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Shows the duties in `systemctl status`, and feeds the watchdog, until the statuses' sender is gone.
///
/// The keep-alive comes from the runtime that the duties share: when that hangs, systemd restarts the agent.
pub async fn keep_informed(mut statuses: watch::Receiver<Statuses>) {
    let interval = sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |timeout| timeout / 3);
    let mut ticks = tokio::time::interval(interval);
    let mut last = String::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => tell(&[NotifyState::Watchdog]),
            changed = statuses.changed() => {
                if changed.is_err() {
                    return;
                }
                let line = summary(&statuses.borrow_and_update());
                if line != last {
                    tell(&[NotifyState::Status(&line)]);
                    last = line;
                }
            }
        }
    }
}

/// "all 5 duties are ok", or those that are not with their reason.
fn summary(statuses: &Statuses) -> String {
    let unwell: Vec<_> = statuses.duties.iter().filter(|(_, row)| !matches!(row.status, Status::Ok { .. })).collect();
    if unwell.is_empty() {
        return format!("all {} duties are ok", statuses.duties.len());
    }
    let tell_one = |(name, row): &(&&str, &hostwright_core::status::DutyStatus)| match row.status.explanation() {
        "" => format!("{name} {}", row.status.name()),
        why => format!("{name} {}: {why}", row.status.name()),
    };
    unwell.iter().map(tell_one).collect::<Vec<_>>().join("; ").replace('\n', " ")
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("cannot notify systemd: {error}");
    }
}
