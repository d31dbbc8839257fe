"""SeqIO registrations"""
