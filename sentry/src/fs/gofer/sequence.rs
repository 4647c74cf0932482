//! In which order a thread comes to the directories of one directory.
//!
//! Who has come from one to the next will come to the one behind that: the more often that was so, the more of them are listed along with the
//! next that has to be. There are two orders to go by: the one in which the host lists them, which who reads the directory sees, and that of
//! their names, in which those go who have sorted them (a shell, git with its index). Each thread is followed by itself, as several may
//! go over one tree, each over its own part.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use super::listing::Listing;

/// How many directories to list ahead of a thread that has so often come from one to the next.
const AHEAD: [u16; 6] = [0, 2, 4, 8, 16, 32];

/// An order of directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// As the host lists them.
    #[default]
    Listed,
    /// By name, byte by byte.
    Name,
}

/// Where a thread is.
#[derive(Default)]
struct Place {
    above: Weak<Listing>,
    index: usize,
    order: Order,
    /// How often it has come from one to the next.
    steps: usize,
}

impl Place {
    /// It comes to entry `index` of the same listing, of which `next` tells the directory behind one.
    fn step(&mut self, index: usize, next: impl Fn(usize, Order) -> Option<usize>) {
        let mut orders = [self.order, Order::Listed, Order::Name].into_iter();
        match orders.find(|order| next(self.index, *order) == Some(index)) {
            Some(order) => (self.order, self.steps) = (order, self.steps + 1),
            None => self.steps = 0,
        }
        self.index = index;
    }

    fn ahead(&self) -> u16 {
        AHEAD[self.steps.min(AHEAD.len() - 1)]
    }
}

thread_local! {
    static LAST: RefCell<Place> = RefCell::default();
}

fn is_in(place: &Place, above: &Arc<Listing>) -> bool {
    std::ptr::eq(place.above.as_ptr(), Arc::as_ptr(above))
}

/// The calling thread comes to the directory that is entry `index` of a listing.
pub(super) fn comes_to(above: &Arc<Listing>, index: usize) {
    LAST.with_borrow_mut(|last| match is_in(last, above) {
        true => last.step(index, |index, order| above.next_dir(index, order)),
        false => *last = Place { above: Arc::downgrade(above), index, ..Place::default() },
    });
}

/// In which order the calling thread goes on from there, and how many directories to list ahead of it.
pub(super) fn goes_on(above: &Arc<Listing>, index: usize) -> (Order, u16) {
    LAST.with_borrow(|last| {
        let is_there = is_in(last, above) && last.index == index;
        (last.order, if is_there { last.ahead() } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five directories: as they are listed, and by name.
    const ORDERS: [[usize; 5]; 2] = [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]];

    fn next(index: usize, order: Order) -> Option<usize> {
        let all = ORDERS[order as usize];
        let at = all.iter().position(|other| *other == index)?;
        all.get(at + 1).copied()
    }

    fn walk(way: &[usize]) -> (Order, Vec<u16>) {
        let mut place = Place { index: way[0], ..Place::default() };
        let ahead = way[1..].iter().map(|index| {
            place.step(*index, next);
            place.ahead()
        });
        let ahead = ahead.collect();
        (place.order, ahead)
    }

    #[test]
    fn more_and_more_in_the_order_in_which_it_goes() {
        assert_eq!(walk(&ORDERS[0]), (Order::Listed, vec![2, 4, 8, 16]));
        assert_eq!(walk(&ORDERS[1]), (Order::Name, vec![2, 4, 8, 16]));
    }

    #[test]
    fn nothing_for_who_goes_elsewhere() {
        assert_eq!(walk(&[4, 1, 3, 2]).1, [0, 0, 0]);
        // It begins again where it left off.
        assert_eq!(walk(&[3, 0, 4, 0, 4, 2]).1, [2, 4, 0, 2, 4]);
    }
}
