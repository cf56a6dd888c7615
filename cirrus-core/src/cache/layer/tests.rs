mod collapsing;
mod revalidating;
mod serving;
mod storing;
mod world;
