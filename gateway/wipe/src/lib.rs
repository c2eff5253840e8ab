//! Wipes memory when it is freed.
//!
//! Message content passes through buffers of hyper, rustls, serde_json and ours; a freed one keeps its bytes until
//! somebody happens to write there. As the process's global allocator, [`WipeOnFree`] overwrites every block before it goes back, so
//! that what nobody holds any more is nowhere in the process's memory.
//!
//! It does not reach what is still held (a live connection's read buffer), the stack, registers, or the kernel's socket
//! buffers.

use std::alloc::{GlobalAlloc, Layout, System};

/// An allocator that wipes each block before it gives it back to the one beneath.
#[derive(Clone, Copy, Debug, Default)]
pub struct WipeOnFree<A = System>(A);

impl WipeOnFree<System> {
    /// Wipes over the system's allocator.
    #[must_use]
    pub const fn new() -> Self {
        Self(System)
    }
}

impl<A> WipeOnFree<A> {
    /// Wipes over another allocator.
    #[must_use]
    pub const fn over(allocator: A) -> Self {
        Self(allocator)
    }
}

/// Overwrites `size` bytes from `block` with zeros, and makes sure that the compiler does not leave it out as a write that
/// nobody reads.
///
/// # Safety
///
/// The bytes must be valid for writes, and nobody may use them any more.
#[expect(unsafe_code, reason = "raw memory is what an allocator is about")]
#[inline]
unsafe fn wipe(block: *mut u8, size: usize) {
    // SAFETY: the caller vouches for the bytes.
    unsafe { block.write_bytes(0, size) };
    // SAFETY: the assembly is empty. What it is for is what it might do: the compiler must take it to read all memory that
    // `block` leads to, so the zeros have to be there.
    unsafe { core::arch::asm!("/* {0} */", in(reg) block, options(nostack, preserves_flags)) };
}

#[expect(unsafe_code, reason = "`GlobalAlloc` is an unsafe trait")]
// SAFETY: blocks come from `A` and go back to it with the layout that they came with; nothing here unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for WipeOnFree<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller vouches.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller vouches.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block has this size, and its owner gives it up.
        unsafe { wipe(block, layout.size()) };
        // SAFETY: as the caller vouches.
        unsafe { self.0.dealloc(block, layout) };
    }

    /// Always moves: an allocator that grows a block where it stands cannot be told from one that moves it and leaves the
    /// old bytes behind.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: `new_size` is not zero and does not overflow when rounded up to the alignment, as the caller vouches.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: the new layout's size is not zero.
        let new_block = unsafe { self.0.alloc(new_layout) };
        if !new_block.is_null() {
            // SAFETY: both blocks are valid for the smaller of the two sizes, and a new block overlaps nothing.
            unsafe { new_block.copy_from_nonoverlapping(block, layout.size().min(new_size)) };
            // SAFETY: the block came with this layout, and its content has moved.
            unsafe { self.dealloc(block, layout) };
        }
        new_block
    }
}

#[cfg(test)]
mod tests {
    #![expect(unsafe_code, reason = "the tests stand where Rust's own collections do")]

    use std::cell::RefCell;

    use super::*;

    /// Keeps what it is given back, to be looked at.
    #[derive(Default)]
    struct Kept(RefCell<Vec<(*mut u8, Layout)>>);

    // SAFETY: blocks come from the system, and are freed by nobody but `Drop`.
    unsafe impl GlobalAlloc for Kept {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as the caller vouches.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            self.0.borrow_mut().push((block, layout));
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            for (block, layout) in self.0.take() {
                // SAFETY: each came from the system with this layout, and comes back once.
                unsafe { System.dealloc(block, layout) };
            }
        }
    }

    impl Kept {
        fn is_wiped(&self) -> bool {
            self.0.borrow().iter().all(|(block, layout)| {
                // SAFETY: the block was given back, and is kept here.
                let bytes = unsafe { std::slice::from_raw_parts(*block, layout.size()) };
                bytes.iter().all(|byte| *byte == 0)
            })
        }
    }

    fn filled(allocator: &WipeOnFree<Kept>, size: usize) -> (*mut u8, Layout) {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the size is not zero.
        let block = unsafe { allocator.alloc(layout) };
        assert!(!block.is_null());
        // SAFETY: the block has this size.
        unsafe { block.write_bytes(0xa5, size) };
        (block, layout)
    }

    #[test]
    fn a_freed_block_is_wiped() {
        let allocator = WipeOnFree::over(Kept::default());
        for size in [1, 7, 8, 200, 20_000, 2_000_000] {
            let (block, layout) = filled(&allocator, size);
            // SAFETY: the block came with this layout.
            unsafe { allocator.dealloc(block, layout) };
        }
        assert_eq!(allocator.0.0.borrow().len(), 6);
        assert!(allocator.0.is_wiped());
    }

    #[test]
    fn a_block_that_grows_or_shrinks_keeps_its_content_and_leaves_none_behind() {
        for (from, to) in [(100, 200), (200, 100), (64, 64), (10, 100_000)] {
            let allocator = WipeOnFree::over(Kept::default());
            let (block, layout) = filled(&allocator, from);
            // SAFETY: the block came with this layout, and the new size is not zero.
            let moved = unsafe { allocator.realloc(block, layout, to) };
            let kept = from.min(to);
            // SAFETY: the new block has at least this size, all of it written.
            let bytes = unsafe { std::slice::from_raw_parts(moved, kept) };
            assert!(bytes.iter().all(|byte| *byte == 0xa5));
            assert!(allocator.0.is_wiped());
            let layout = Layout::from_size_align(to, 8).unwrap();
            // SAFETY: the block came with this layout.
            unsafe { allocator.dealloc(moved, layout) };
            assert!(allocator.0.is_wiped());
        }
    }
}
