"""`python -m capsnet_dist`, and what `accelerate launch -m capsnet_dist` and torchrun start: the command line."""

from capsnet_dist.commands.main import main

if __name__ == "__main__":
    main()
