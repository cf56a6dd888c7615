mod collapsing;
mod purging;
mod revalidating;
mod serving;
mod slicing;
mod storing;
mod world;
