from .cli import main

main(prog_name="stepe-lite")
