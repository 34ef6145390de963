//! Deliveries that are under way: published, and not arrived yet.

/// How many are under way.
#[derive(Debug, Default)]
pub(super) struct Window {
    published: u64,
    arrived: u64,
    /// Those that are not waited for any more.
    written_off: u64,
    /// Somebody waits for so few or fewer.
    waiting: Option<u64>,
}

impl Window {
    pub(super) fn published(&mut self, deliveries: u64) {
        self.published += deliveries;
    }

    /// One arrived; whether that ends somebody's wait.
    pub(super) fn arrived(&mut self) -> bool {
        self.arrived += 1;
        let under_way = self.under_way();
        self.waiting.take_if(|few| under_way <= *few).is_some()
    }

    /// How many have ever arrived.
    pub(super) fn progress(&self) -> u64 {
        self.arrived
    }

    pub(super) fn under_way(&self) -> u64 {
        // What was written off may arrive after all.
        self.published.saturating_sub(self.arrived + self.written_off)
    }

    /// Waits for `few` or fewer: [`Window::arrived`] says when. Whether it is so already.
    pub(super) fn wait_for(&mut self, few: u64) -> bool {
        let already = self.under_way() <= few;
        self.waiting = (!already).then_some(few);
        already
    }

    /// What is under way is not waited for any more.
    pub(super) fn write_off(&mut self) {
        self.written_off += self.under_way();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_the_arrival_that_makes_room() {
        let mut window = Window::default();
        assert!(window.wait_for(0));
        window.published(3);
        assert!(!window.wait_for(1));
        assert_eq!([window.arrived(), window.arrived(), window.arrived()], [false, true, false]);
        assert_eq!(window.under_way(), 0);
    }

    #[test]
    fn what_was_written_off_may_arrive_after_all() {
        let mut window = Window::default();
        window.published(5);
        window.write_off();
        assert_eq!(window.under_way(), 0);
        window.arrived();
        window.published(1);
        assert_eq!((window.under_way(), window.progress()), (0, 1));
    }
}
