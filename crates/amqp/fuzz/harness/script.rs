/// What a fuzz input tells the hub's side to do: bytes that are taken one after another, from the
/// start again when they are used up. Without any, the caller grants everything.
#[derive(Debug)]
pub struct Script<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl<'a> Script<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, place: 0 }
    }

    /// Whether there is anything in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes the next byte, 0 from an empty script.
    pub fn take(&mut self) -> u8 {
        let byte = self.bytes.get(self.place).copied().unwrap_or_default();
        self.place = (self.place + 1) % self.bytes.len().max(1);
        byte
    }

    /// Chooses one of several.
    pub fn choose<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let place = usize::from(self.take()) % of.len().max(1);
        of.get(place).copied()
    }
}
