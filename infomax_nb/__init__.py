from .waiting import give_way

give_way()  # before anything here imports torch
