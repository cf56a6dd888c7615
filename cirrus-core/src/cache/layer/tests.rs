mod collapsing;
mod failing;
mod keys;
mod purging;
mod revalidating;
mod serving;
mod storing;
mod world;
