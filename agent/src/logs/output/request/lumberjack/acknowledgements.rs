/// Version 2 of the protocol, and the kind of the frame.
const BEGINNING: [u8; 2] = *b"2A";

/// The acknowledgements of one window, as they come: each is a frame with the number of the last event that it is for.
#[derive(Debug)]
pub struct Acknowledgements {
    /// Events of the window.
    events: usize,
    acknowledged: usize,
    frame: [u8; 6],
    filled: usize,
}

impl Acknowledgements {
    pub fn new(events: usize) -> Self {
        Self { events, acknowledged: 0, frame: [0; 6], filled: 0 }
    }

    /// How many events are acknowledged.
    pub fn count(&self) -> usize {
        self.acknowledged
    }

    pub fn are_all(&self) -> bool {
        self.acknowledged == self.events
    }

    /// Where to put what comes next.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.frame[self.filled..]
    }

    /// Takes so many bytes that were put there.
    ///
    /// # Errors
    /// They are no acknowledgement of this window: what came instead.
    pub fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.filled += bytes;
        if self.filled < self.frame.len() {
            return Ok(());
        }
        self.filled = 0;
        let number = number(&self.frame).filter(|number| *number <= self.events);
        let number = number.ok_or_else(|| self.frame.escape_ascii().to_string())?;
        // 0 says that it is still at work.
        self.acknowledged = self.acknowledged.max(number);
        Ok(())
    }
}

fn number(frame: &[u8; 6]) -> Option<usize> {
    let (beginning, number) = frame.split_first_chunk::<2>()?;
    let number = u32::from_be_bytes(*number.first_chunk()?);
    (*beginning == BEGINNING).then_some(number).and_then(|number| usize::try_from(number).ok())
}
